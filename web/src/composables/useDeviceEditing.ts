// Editing, deleting and new credentials for one device.

import { useDialog, useMessage } from 'naive-ui'
import { ref, shallowRef } from 'vue'
import { useI18n } from 'vue-i18n'
import { useRouter } from 'vue-router'
import * as api from '@/api/fleet'
import { ApiError } from '@/api/problem'
import type { Credentials, Device } from '@/api/types'
import { useFailure } from './useFailure'

export function useDeviceEditing(changed: () => Promise<void>) {
  const dialog = useDialog()
  const message = useMessage()
  const router = useRouter()
  const { t } = useI18n()
  const failure = useFailure()

  const editing = ref(false)
  const busy = ref(false)
  const error = ref<string>()
  const credentials = shallowRef<Credentials>()

  function edit() {
    error.value = undefined
    editing.value = true
  }

  async function save(seen: Device, settings: { name: string, location: string }) {
    busy.value = true
    error.value = undefined
    try {
      await api.editDevice(seen, settings)
      editing.value = false
      message.success(t('device.saved'))
    } catch (problem) {
      const elsewhere = problem instanceof ApiError && problem.status === 412
      error.value = elsewhere ? t('device.changedElsewhere') : failure(problem)
    } finally {
      busy.value = false
    }
    await changed()
  }

  function rotate(id: string) {
    dialog.warning({
      title: t('credentials.rotate'),
      content: t('credentials.rotateAsk', { id }),
      positiveText: t('credentials.rotateDo'),
      negativeText: t('common.cancel'),
      onPositiveClick: () => attempt(async () => {
        credentials.value = (await api.rotateCredentials(id)).credentials
      }),
    })
  }

  function remove(id: string) {
    dialog.error({
      title: t('device.delete'),
      content: t('device.deleteAsk', { id }),
      positiveText: t('common.delete'),
      negativeText: t('common.cancel'),
      onPositiveClick: () => attempt(async () => {
        await api.deleteDevice(id)
        message.success(t('device.deleted', { id }))
        await router.push({ name: 'devices' })
      }),
    })
  }

  async function attempt(action: () => Promise<void>) {
    try {
      await action()
    } catch (problem) {
      message.error(failure(problem))
    }
  }

  return { editing, busy, error, credentials, edit, save, rotate, remove }
}
