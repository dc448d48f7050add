// Live topics for as long as a page is open.

import { onScopeDispose, watch } from 'vue'
import { useLive } from '@/stores/live'

export function useTopics(topics: () => readonly string[]): void {
  const live = useLive()
  let release: (() => void) | undefined
  watch(() => topics().join(' '), () => {
    const previous = release
    release = live.want(topics())
    previous?.()
  }, { immediate: true })
  onScopeDispose(() => release?.())
}
