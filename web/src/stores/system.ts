// How the platform is, as the node that answered last said.

import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import * as api from '@/api/system'
import type { HealthReport } from '@/api/types'
import { brokenParts, gravityOf } from '@/domain/system'

export const useSystem = defineStore('system', () => {
  const report = shallowRef<HealthReport>()
  /** When the report came, by our own clock, unix ms. */
  const reportedAt = ref<number>()
  /** Why there was no answer when the platform was asked last. */
  const failure = shallowRef<unknown>()
  const gravity = computed(() => report.value && gravityOf(report.value))
  const broken = computed(() => (report.value ? brokenParts(report.value) : []))

  /** Asks again; the last report stays while there is no answer. */
  async function refresh() {
    try {
      report.value = await api.health()
      reportedAt.value = Date.now()
      failure.value = undefined
    } catch (error) {
      failure.value = error
    }
  }

  return { report, reportedAt, failure, gravity, broken, refresh }
})
