// The page's languages. A new one is a file like en.ts and a line here.

import { createI18n } from 'vue-i18n'
import en from './en'
import zh from './zh'

export const LANGUAGES = { en: 'English', zh: '中文' } as const
export type Language = keyof typeof LANGUAGES

export const messages = { en, zh } satisfies Record<Language, typeof en>

export const i18n = createI18n({
  legacy: false,
  locale: 'en',
  fallbackLocale: 'en',
  messages,
})

/** The language to start with: the first one wanted that we have. */
export function detect(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split('-')[0] ?? ''
    if (isLanguage(language))
      return language
  }
  return 'en'
}

export function isLanguage(name: string): name is Language {
  return name in LANGUAGES
}

/** The tag for formatting and `<html lang>`. */
export function tagOf(language: Language): string {
  return language === 'zh' ? 'zh-CN' : 'en'
}
