import { mount } from '@vue/test-utils'
import { expect, test } from 'vitest'
import type { Command } from '@/api/types'
import { formatFor } from '@/format'
import { i18n } from '@/i18n'
import SocketCard from './SocketCard.vue'

const T0 = Date.UTC(2026, 0, 1)

function card(command?: Partial<Command>, disabled = false) {
  const commands: Command[] = command
    ? [{
        cmdId: `${T0.toString(16).padStart(12, '0').replace(/^(.{8})/, '$1-')}-7000-8000-000000000000`,
        deviceId: 'a',
        socketId: 2,
        action: 'on',
        state: 'pending',
        origin: { kind: 'user', name: 'admin' },
        createdAt: new Date(T0).toISOString(),
        timeoutMs: 6_000,
        deadlineAt: new Date(T0 + 6_000).toISOString(),
        ...command,
      }]
    : []
  return mount(SocketCard, {
    global: { plugins: [i18n] },
    props: {
      socket: {
        socketId: 2,
        on: false,
        changedAt: new Date(T0 - 60_000).toISOString(),
        origin: { kind: 'user', name: 'admin' },
      },
      powerW: 12,
      commands,
      disabled,
      format: formatFor('en'),
      nowMs: T0 + 1_000,
    },
  })
}

test('says who changed the socket, and asks its parent to switch', async () => {
  const mounted = card()
  expect(mounted.text()).toContain('admin, 1 min. ago')
  await mounted.get('[role=switch]').trigger('click')
  expect(mounted.emitted('send')).toEqual([['on']])
})

test('while a command is pending it shows the wish, cannot be switched, and offers to stop waiting', async () => {
  const mounted = card({ state: 'pending' })
  expect(mounted.get('[role=switch]').attributes('aria-checked')).toBe('true')
  expect(mounted.text()).toContain('Waiting for the strip')
  await mounted.get('[role=switch]').trigger('click')
  expect(mounted.emitted('send')).toBeUndefined()
  await mounted.get('button').trigger('click')
  expect(mounted.emitted('cancel')).toHaveLength(1)
})

test.each([
  [{ state: 'failed', reason: 'overload' }, 'Failed: overload'],
  [{ state: 'timeout' }, 'No answer'],
  [{ state: 'cancelled' }, 'Cancelled'],
  [{ state: 'success', settledAt: new Date(T0).toISOString() }, 'Done'],
] as const)('%o reads "%s"', (command, text) => {
  expect(card(command).text()).toContain(text)
})

test('cannot be switched while the strip is offline', async () => {
  const mounted = card(undefined, true)
  await mounted.get('[role=switch]').trigger('click')
  expect(mounted.emitted('send')).toBeUndefined()
})
