// How many strips wait for somebody to take them.

import { defineStore } from 'pinia'
import { ref } from 'vue'
import * as api from '@/api/fleet'

const LEAST_MS = 2_000

export const useInbox = defineStore('inbox', () => {
  const waiting = ref(0)
  let asked = 0
  let again: ReturnType<typeof setTimeout> | undefined

  /** Asks again, but not more often than every two seconds however many events come. */
  async function refresh() {
    const due = asked + LEAST_MS - Date.now()
    if (due > 0) {
      again ??= setTimeout(() => void refresh(), due)
      return
    }
    clearTimeout(again)
    again = undefined
    asked = Date.now()
    try {
      waiting.value = (await api.listDevices({ state: 'pending', limit: 100 })).items.length
    } catch {
      // The number is a hint; the inbox itself says what went wrong.
      return
    }
  }

  return { waiting, refresh }
})
