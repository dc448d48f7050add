// One device's history over a chosen range; a new range aborts the request before.

import { onScopeDispose, ref, shallowRef, watch } from 'vue'
import * as api from '@/api/fleet'
import type { History } from '@/api/types'
import { type RangeName, RANGES } from '@/domain/history'
import { useEvery } from './useEvery'

const REFRESH_MS = 60_000

export function useHistory(deviceId: () => string) {
  const range = ref<RangeName>('day')
  const history = shallowRef<History>()
  const span = shallowRef<{ from: number, to: number }>({ from: Date.now() - RANGES.day, to: Date.now() })
  const loading = ref(false)
  const failure = shallowRef<unknown>()
  let current: AbortController | undefined

  async function load() {
    current?.abort()
    const request = new AbortController()
    current = request
    loading.value = true
    const to = Date.now()
    const from = to - RANGES[range.value]
    try {
      const answer = await api.history(deviceId(), {
        from: new Date(from).toISOString(),
        to: new Date(to).toISOString(),
      }, request.signal)
      history.value = answer
      span.value = { from, to }
      failure.value = undefined
    } catch (error) {
      if (!request.signal.aborted)
        failure.value = error
    } finally {
      if (current === request)
        loading.value = false
    }
  }

  watch([deviceId, range], () => void load())
  useEvery(REFRESH_MS, load)
  onScopeDispose(() => {
    current?.abort()
  })
  return { range, history, span, loading, failure, load }
}
