// What a person prefers on this browser: language and appearance.

import { defineStore } from 'pinia'
import { computed, ref, watchEffect } from 'vue'
import { formatFor } from '@/format'
import { detect, i18n, isLanguage, type Language, tagOf } from '@/i18n'

export type Theme = 'system' | 'light' | 'dark'

const LANGUAGE_KEY = 'dormouse.language'
const THEME_KEY = 'dormouse.theme'

export const usePreferences = defineStore('preferences', () => {
  const language = ref<Language>(readLanguage())
  const theme = ref<Theme>(readTheme())
  const systemDark = ref(false)
  const dark = computed(() => theme.value === 'dark' || (theme.value === 'system' && systemDark.value))
  const format = computed(() => formatFor(tagOf(language.value)))

  const query = window.matchMedia('(prefers-color-scheme: dark)')
  systemDark.value = query.matches
  query.addEventListener('change', (change) => {
    systemDark.value = change.matches
  })

  watchEffect(() => {
    i18n.global.locale.value = language.value
    document.documentElement.lang = tagOf(language.value)
  })
  watchEffect(() => {
    document.documentElement.dataset['theme'] = dark.value ? 'dark' : 'light'
  })

  function setLanguage(next: Language) {
    language.value = next
    write(LANGUAGE_KEY, next)
  }

  function setTheme(next: Theme) {
    theme.value = next
    write(THEME_KEY, next)
  }

  return { language, theme, dark, format, setLanguage, setTheme }
})

function readLanguage(): Language {
  const saved = read(LANGUAGE_KEY)
  return saved !== null && isLanguage(saved) ? saved : detect(navigator.languages)
}

function readTheme(): Theme {
  const saved = read(THEME_KEY)
  return saved === 'light' || saved === 'dark' ? saved : 'system'
}

// Storage may be forbidden; preferences then last as long as the page.
function read(key: string): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value)
  } catch {
    return
  }
}
