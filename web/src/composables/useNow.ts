// One ticking clock for everything that says "3 seconds ago".

import { computed, onScopeDispose, type Ref, ref } from 'vue'
import { useLive } from '@/stores/live'

const tick = ref(Date.now())
let users = 0
let timer: ReturnType<typeof setInterval> | undefined

/** The server's time in unix ms, once a second while somebody looks. */
export function useNow(): Readonly<Ref<number>> {
  const live = useLive()
  if (users++ === 0) {
    tick.value = Date.now()
    timer = setInterval(() => {
      tick.value = Date.now()
    }, 1_000)
  }
  onScopeDispose(() => {
    if (--users === 0)
      clearInterval(timer)
  })
  return computed(() => tick.value + live.live.skewMs)
}
