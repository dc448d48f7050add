// Phrases that several components share: who did it, how a command ended.

import { useI18n } from 'vue-i18n'
import type { CommandNews, Origin } from '@/api/types'

export function useWords() {
  const { t, te } = useI18n()

  function who(origin: Origin): string {
    return t(`origin.${origin.kind}`, 'name' in origin ? { name: origin.name } : {})
  }

  /** "Failed: overload", "Done (confirmed by the strip)". */
  function verdict(command: CommandNews): string {
    const state = t(`command.state.${command.state}`)
    return command.reason ? t('command.reason', { state, reason: command.reason }) : state
  }

  /** What is known beyond the verdict. */
  function footnote(command: CommandNews): string {
    if (command.lateOutcome)
      return t(`command.late.${command.lateOutcome}`)
    return command.state === 'success' && command.evidence ? t(`command.evidence.${command.evidence}`) : ''
  }

  function presenceReason(reason: string | null | undefined): string {
    const key = `reason.${reason ?? ''}`
    return te(key) ? t(key) : (reason ?? '')
  }

  return { who, verdict, footnote, presenceReason }
}
