// Errors as sentences in the reader's language.

import { useI18n } from 'vue-i18n'
import { ApiError } from '@/api/problem'

/** Sentences by problem type, where the page knows better words than the server's. */
const BY_TYPE = ['network', 'command-pending', 'command-final', 'device-offline', 'device-exists'] as const

const BY_STATUS: Readonly<Record<number, string>> = {
  403: 'forbidden',
  404: 'not-found',
  412: 'conflict',
  503: 'unavailable',
}

/** A function that says what went wrong. */
export function useFailure(): (error: unknown) => string {
  const { t } = useI18n()
  return (error) => {
    if (!(error instanceof ApiError))
      return t('errors.title')
    if (error.status === 429)
      return t('errors.rate', { seconds: error.retryAfterS ?? 1 })
    const known = BY_TYPE.find((type) => type === error.type)
    if (known)
      return t(`errors.${known}`)
    const byStatus = BY_STATUS[error.status]
    if (byStatus !== undefined)
      return t(`errors.${byStatus}`)
    // What remains are rules about input: the server names the field and the rule.
    return error.status >= 500 ? t('errors.server') : sentences(error)
  }
}

function sentences(error: ApiError): string {
  const fields = error.problem?.errors?.map(({ pointer, detail }) => `${pointer.replace(/^\//, '')}: ${detail}`) ?? []
  return fields.length > 0 ? fields.join(' · ') : error.message
}
