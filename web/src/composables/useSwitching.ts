// Sending commands, and explaining the refusals.

import { useDialog, useMessage } from 'naive-ui'
import { useI18n } from 'vue-i18n'
import * as api from '@/api/fleet'
import { ApiError } from '@/api/problem'
import type { Action, CommandNews } from '@/api/types'
import { useLive } from '@/stores/live'
import { useFailure } from './useFailure'

export function useSwitching(deviceId: () => string) {
  const live = useLive()
  const dialog = useDialog()
  const message = useMessage()
  const { t } = useI18n()
  const failure = useFailure()

  async function send(socketId: number, action: Action, onPending: 'refuse' | 'replace' = 'refuse') {
    try {
      live.sent(await api.sendCommand(deviceId(), socketId, { action, onPending }))
    } catch (error) {
      if (error instanceof ApiError && error.type === 'command-pending')
        offerReplacing(socketId, action)
      else
        message.error(failure(error))
    }
  }

  /** Somebody else was faster: say so, and let the person decide. */
  function offerReplacing(socketId: number, action: Action) {
    dialog.info({
      title: t('command.title'),
      content: t('command.pendingElsewhere'),
      positiveText: t('command.replace'),
      negativeText: t('common.cancel'),
      onPositiveClick: () => send(socketId, action, 'replace'),
    })
  }

  async function cancel(command: CommandNews) {
    try {
      live.sent(await api.cancelCommand(command.cmdId))
      message.info(t('command.cancelled'))
    } catch (error) {
      message.error(failure(error))
    }
  }

  return { send, cancel }
}
