// A list that is loaded page by page with cursors; a new question aborts the
// one before.

import { onScopeDispose, ref, shallowRef } from 'vue'
import type { Page } from '@/api/fleet'

export type Loader<T> = (cursor: string | undefined, signal: AbortSignal) => Promise<Page<T>>

export function usePages<T>(load: Loader<T>) {
  const items = shallowRef<readonly T[]>([])
  const cursor = ref<string | null>(null)
  const loading = ref(false)
  /** Whether the first page has arrived. */
  const ready = ref(false)
  const failure = shallowRef<unknown>()
  let current: AbortController | undefined

  async function fetchPage(from: string | undefined) {
    current?.abort()
    const request = new AbortController()
    current = request
    loading.value = true
    failure.value = undefined
    try {
      const page = await load(from, request.signal)
      items.value = from === undefined ? page.items : [...items.value, ...page.items]
      cursor.value = page.nextCursor ?? null
      ready.value = true
    } catch (error) {
      if (!request.signal.aborted)
        failure.value = error
    } finally {
      if (current === request)
        loading.value = false
    }
  }

  const reload = () => fetchPage(undefined)

  async function more() {
    if (cursor.value !== null && !loading.value)
      await fetchPage(cursor.value)
  }

  onScopeDispose(() => current?.abort())
  return { items, cursor, loading, ready, failure, reload, more }
}
