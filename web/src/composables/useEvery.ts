// Work that repeats while a page is open and somebody looks.

import { onScopeDispose } from 'vue'

/** Runs `work` now, every `ms` while the page is visible, and when it becomes visible again. */
export function useEvery(ms: number, work: () => Promise<void>): void {
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false

  async function run() {
    clearTimeout(timer)
    // A failure is shown by the live connection's notice; here it only means a later try.
    await work().catch(() => undefined)
    clearTimeout(timer)
    if (!stopped && document.visibilityState === 'visible')
      timer = setTimeout(() => void run(), ms)
  }

  function look() {
    if (document.visibilityState === 'visible')
      void run()
  }

  void run()
  document.addEventListener('visibilitychange', look)
  onScopeDispose(() => {
    stopped = true
    clearTimeout(timer)
    document.removeEventListener('visibilitychange', look)
  })
}
