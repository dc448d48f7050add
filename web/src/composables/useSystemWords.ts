// What the platform's parts are called in the reader's language.

import { useI18n } from 'vue-i18n'
import { adviceFor, isKnownPart, KNOWN_DUTIES, type NamedPart, slotOf } from '@/domain/system'

const ENGINES: Readonly<Record<string, string>> = {
  redis: 'Redis',
  sqlite: 'SQLite',
  postgresql: 'PostgreSQL',
  timescaledb: 'TimescaleDB',
  emqx: 'EMQX',
  mosquitto: 'Mosquitto',
}

export function useSystemWords() {
  const { t, locale } = useI18n()

  function part(name: string): string {
    return isKnownPart(name) ? t(`system.part.${name}`) : name
  }

  /** Which engine does a part's work. */
  function engine({ name, engine }: Pick<NamedPart, 'name' | 'engine'>): string {
    if (name === 'mqtt')
      return t(engine === 'embedded' ? 'system.engine.embedded' : 'system.engine.external')
    if (engine === 'memory')
      return t('system.engine.memory')
    return ENGINES[engine] ?? ''
  }

  /** "Live state (Redis)" */
  function partWithEngine(named: NamedPart): string {
    const by = engine(named)
    return by ? t('system.partWithEngine', { part: part(named.name), engine: by }) : part(named.name)
  }

  function advice(part: NamedPart): string {
    return t(`system.advice.${adviceFor(part)}`)
  }

  function duty(lease: string): string {
    const known = KNOWN_DUTIES.find((name) => name === lease)
    const slot = slotOf(lease)
    if (slot !== undefined)
      return t('system.duty.slot', { n: slot })
    return known ? t(`system.duty.${known}`) : lease
  }

  /** "Redis, Journal" */
  function list(words: readonly string[]): string {
    return new Intl.ListFormat(locale.value === 'zh' ? 'zh-CN' : 'en', { type: 'conjunction' }).format(words)
  }

  return { part, engine, partWithEngine, advice, duty, list }
}
