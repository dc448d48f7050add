import { expect, test } from 'vitest'
import type { Command, Socket } from '@/api/types'
import { latestFor, madeAt, pendingFor, shownOn, switchedOn } from './command'

const T0 = Date.UTC(2026, 0, 1)
const at = (ms: number) => new Date(T0 + ms).toISOString()

/** A UUIDv7 of that moment. */
const idAt = (ms: number) => {
  const hex = (T0 + ms).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}

const socket = (more: Partial<Socket> = {}): Socket =>
  ({ socketId: 1, on: false, changedAt: at(-60_000), origin: { kind: 'device' }, ...more })

const command = (state: Command['state'], more: Partial<Command> = {}): Command => ({
  cmdId: idAt(0),
  deviceId: 'a',
  socketId: 1,
  action: 'on',
  state,
  origin: { kind: 'user', name: 'admin' },
  createdAt: at(0),
  timeoutMs: 6_000,
  deadlineAt: at(6_000),
  settledAt: state === 'pending' ? null : at(1_000),
  ...more,
})

test('a command for the whole strip holds every socket, and any socket holds the strip', () => {
  expect(pendingFor([command('pending', { socketId: 0 })], 3)).toBeDefined()
  expect(pendingFor([command('pending', { socketId: 3 })], 0)).toBeDefined()
  expect(pendingFor([command('pending', { socketId: 3 })], 2)).toBeUndefined()
  expect(pendingFor([command('success')], 1)).toBeUndefined()
})

test('the newest command that moves the socket speaks for it', () => {
  const whole = command('success', { cmdId: idAt(1), socketId: 0 })
  expect(latestFor([whole, command('failed')], 1)).toBe(whole)
})

test('success is shown for a moment, then the origin of the state', () => {
  expect(shownOn([command('success')], socket(), T0 + 5_000)).toBeDefined()
  expect(shownOn([command('success')], socket(), T0 + 60_000)).toBeUndefined()
})

test('a failure stays until the socket changes', () => {
  const failed = command('failed')
  expect(shownOn([failed], socket(), T0 + 3_600_000)).toBe(failed)
  expect(shownOn([failed], socket({ changedAt: at(30_000) }), T0 + 60_000)).toBeUndefined()
})

test('the switch stands where it was asked to be while the answer is awaited', () => {
  expect(switchedOn(socket(), command('pending'))).toBe(true)
  expect(switchedOn(socket({ on: true }), command('pending', { action: 'off' }))).toBe(false)
  expect(switchedOn(socket({ on: true }), undefined)).toBe(true)
})

test('an id tells when the command was made', () => {
  expect(madeAt(command('success', { cmdId: idAt(1_234) }))).toBe(T0 + 1_234)
})
