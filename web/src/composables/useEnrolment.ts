// How unknown strips come in: the site's join key and what it is worth.

import { useDialog, useMessage } from 'naive-ui'
import { ref, shallowRef } from 'vue'
import { useI18n } from 'vue-i18n'
import * as api from '@/api/fleet'
import { ApiError } from '@/api/problem'
import type { Enrolment } from '@/api/types'
import { useFailure } from './useFailure'

export function useEnrolment() {
  const dialog = useDialog()
  const message = useMessage()
  const { t } = useI18n()
  const failure = useFailure()

  /** Absent for those who may not see it. */
  const enrolment = shallowRef<Enrolment>()
  const busy = ref(false)

  async function change(request: () => Promise<Enrolment>) {
    busy.value = true
    try {
      enrolment.value = await request()
    } catch (error) {
      message.error(failure(error))
    } finally {
      busy.value = false
    }
  }

  async function load() {
    try {
      enrolment.value = await api.enrolment()
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 403))
        message.error(failure(error))
    }
  }

  function setMode(mode: Enrolment['mode']) {
    return change(() => api.setJoinMode(mode))
  }

  function rotate() {
    dialog.warning({
      title: t('join.rotate'),
      content: t('join.rotateAsk'),
      positiveText: t('credentials.rotateDo'),
      negativeText: t('common.cancel'),
      onPositiveClick: () => change(api.rotateJoinKey),
    })
  }

  void load()
  return { enrolment, busy, setMode, rotate }
}
