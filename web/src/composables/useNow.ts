// One ticking clock for everything that says "3 seconds ago".

import { onScopeDispose, type Ref, ref } from 'vue'

const now = ref(Date.now())
let users = 0
let timer: ReturnType<typeof setInterval> | undefined

/** Unix milliseconds, once a second while somebody looks. */
export function useNow(): Readonly<Ref<number>> {
  if (users++ === 0) {
    now.value = Date.now()
    timer = setInterval(() => {
      now.value = Date.now()
    }, 1_000)
  }
  onScopeDispose(() => {
    if (--users === 0)
      clearInterval(timer)
  })
  return now
}
