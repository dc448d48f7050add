import { expect, test } from 'vitest'
import type { components } from '@/api/schema'
import type { Command, LiveMessage, Sample } from '@/api/types'
import { type Live, LIVE_WINDOW_MS, MAX_COMMANDS, MAX_EVENTS, NOTHING, type Received } from './live'
import { backfill, reduce, stripPower, watchCurves } from './reduce'

type DeviceNews = components['schemas']['DeviceMessage']

const device = (deviceId: string, more: Partial<DeviceNews> = {}): DeviceNews => ({
  deviceId,
  name: '',
  location: 'A/3/302',
  presence: { state: 'online', since: '2026-11-01T00:00:00Z' },
  sockets: [],
  ...more,
})

const command = (cmdId: string, state: Command['state'], more: Partial<Command> = {}): Command => ({
  cmdId,
  deviceId: 'a',
  socketId: 1,
  action: 'on',
  state,
  origin: { kind: 'user', name: 'admin' },
  createdAt: '2026-11-01T00:00:00Z',
  timeoutMs: 6_000,
  deadlineAt: '2026-11-01T00:00:06Z',
  ...more,
})

const snapshot = (...devices: DeviceNews[]): LiveMessage => ({
  type: 'snapshot', topics: [], version: '1', now: '2026-11-01T00:00:10Z', devices,
})
const samples = (...readings: Sample[]): LiveMessage => ({ type: 'telemetry', deviceId: 'a', samples: readings })
const AT = Date.parse('2026-11-01T00:00:00Z')
const fold = (live: Live, ...batch: LiveMessage[]): Live => reduce(live, batch.map((message) => ({ at: AT, message })))
const after = (...batch: LiveMessage[]): Live => fold(watchCurves(NOTHING, ['a']), ...batch)

test('a snapshot replaces the devices', () => {
  const live = after(snapshot(device('gone')), snapshot(device('new')))
  expect(Object.keys(live.devices)).toEqual(['new'])
})

test('folding leaves the state before untouched', () => {
  const before = after(snapshot(device('a')))
  const frozen = structuredClone(before)
  fold(before, samples({ ts: 1, powerW: 5 }), { type: 'command', ...command('1', 'pending') })
  expect(before).toEqual(frozen)
})

test('a message about an unknown device adds none', () => {
  const live = after({ type: 'DEVICE_OFFLINE', deviceId: 'x', eventId: '1', presence: { state: 'offline' } })
  expect(live.devices).toEqual({})
})

test('presence changes the device and nothing else of it', () => {
  const live = after(
    snapshot(device('a', { name: 'desk' })),
    { type: 'DEVICE_OFFLINE', deviceId: 'a', eventId: '1', presence: { state: 'offline', reason: 'silence' } },
  )
  expect(live.devices['a']).toMatchObject({ name: 'desk', presence: { state: 'offline', reason: 'silence' } })
})

test('a late sample lands in the curve but does not become the latest', () => {
  const live = after(snapshot(device('a')), samples({ ts: 2_000, powerW: 20 }), samples({ ts: 1_000, powerW: 10 }))
  expect(live.devices['a']?.latest?.powerW).toBe(20)
  expect(live.power['a']).toEqual([[1_000, 10], [2_000, 20]])
})

test('a repeated sample changes nothing', () => {
  const once = after(snapshot(device('a')), samples({ ts: 1_000, powerW: 10 }))
  expect(fold(once, samples({ ts: 1_000, powerW: 10 })).power).toEqual(once.power)
})

test('the curve keeps its window and no more', () => {
  const batch = Array.from({ length: 50 }, (_, i) => samples({ ts: i * 60_000, powerW: i }))
  const curve = after(snapshot(device('a')), ...batch).power['a'] ?? []
  expect(curve.at(-1)?.[0]).toBe(49 * 60_000)
  expect(curve[0]?.[0]).toBe(49 * 60_000 - LIVE_WINDOW_MS)
})

test('a command that was settled is not pending again', () => {
  const live = after({ type: 'command', ...command('1', 'success') }, { type: 'command', ...command('1', 'pending') })
  expect(live.commands['a']?.map((one) => one.state)).toEqual(['success'])
})

test('a late outcome is added to a timed-out command, and what REST read before it does not undo it', () => {
  const live = after(
    { type: 'command', ...command('1', 'timeout') },
    { type: 'command', ...command('1', 'timeout', { lateOutcome: 'success' }) },
  )
  const filled = backfill(live, { deviceId: 'a', commands: [command('1', 'timeout')] })
  expect(filled.commands['a']?.[0]?.lateOutcome).toBe('success')
})

test('commands are newest first and bounded', () => {
  const ids = Array.from({ length: MAX_COMMANDS + 3 }, (_, i) => String(100 + i))
  const live = after(...ids.map((id): LiveMessage => ({ type: 'command', ...command(id, 'success') })))
  expect(live.commands['a']?.map((one) => one.cmdId)).toEqual(ids.reverse().slice(0, MAX_COMMANDS))
})

test('a snapshot after a gap keeps the commands that REST told', () => {
  const live = fold(backfill(NOTHING, { deviceId: 'a', commands: [command('1', 'success')] }), snapshot(device('a')))
  expect(live.commands['a']).toHaveLength(1)
})

test('events are newest first, once each, and bounded', () => {
  const event = (id: string): LiveMessage =>
    ({
      type: 'event',
      event: {
        id,
        type: 'device.boot',
        severity: 'info',
        ts: '2026-11-01T00:00:00Z',
        receivedAt: '2026-11-01T00:00:00Z',
        origin: { kind: 'device' },
        data: {},
      },
    })
  const ids = Array.from({ length: MAX_EVENTS + 1 }, (_, i) => String(i))
  const live = after(...ids.map(event), event(String(MAX_EVENTS)))
  expect(live.events).toHaveLength(MAX_EVENTS)
  expect(live.events[0]?.id).toBe(String(MAX_EVENTS))
})

test('a message of a newer server is passed over', () => {
  const live = after(snapshot(device('a')), { type: 'someday' } as unknown as LiveMessage)
  expect(Object.keys(live.devices)).toEqual(['a'])
})

test('the ring fills in behind the live points and does not overwrite them', () => {
  const live = after(snapshot(device('a')), samples({ ts: 3_000, powerW: 33 }))
  const filled = backfill(live, { deviceId: 'a', samples: [{ ts: 1_000, powerW: 1 }, { ts: 3_000, powerW: 3 }] })
  expect(filled.power['a']).toEqual([[1_000, 1], [3_000, 33]])
})

test('news of a command keeps what REST told of it', () => {
  const live = fold(
    backfill(NOTHING, { deviceId: 'a', commands: [command('1', 'pending')] }),
    { type: 'command', cmdId: '1', deviceId: 'a', socketId: 1, action: 'on', state: 'success', evidence: 'acked' },
  )
  expect(live.commands['a']?.[0]).toMatchObject({ state: 'success', evidence: 'acked', origin: { name: 'admin' } })
})

test('a change of presence is an event of its own, once', () => {
  const gone: LiveMessage = { type: 'DEVICE_OFFLINE', deviceId: 'a', eventId: '7', presence: { state: 'offline' } }
  const live = after(snapshot(device('a')), gone, gone)
  expect(live.events.map(({ id, type, severity }) => [id, type, severity])).toEqual([['7', 'DEVICE_OFFLINE', 'warning']])
})

test('curves are kept of watched devices only', () => {
  const live = after(snapshot(device('a'), device('b')), { type: 'telemetry', deviceId: 'b', samples: [{ ts: 1, powerW: 9 }] })
  expect(live.power).toEqual({})
  expect(live.devices['b']?.latest?.powerW).toBe(9)
  expect(watchCurves(after(snapshot(device('a')), samples({ ts: 1, powerW: 1 })), ['b']).power).toEqual({})
})

test('the fleet\'s curve stands on the server\'s clock', () => {
  const totals = { devices: 1, online: 1, offline: 0, never: 0, powerW: 42 }
  const live = after(snapshot(device('a')), { type: 'fleet', ...totals })
  expect(live.skewMs).toBe(10_000)
  expect(live.fleetPower).toEqual([[AT + 10_000, 42]])
})

test('an added or edited device replaces what was known, a removed one goes', () => {
  const edited = after(snapshot(device('a')), { type: 'device', ...device('a', { name: 'new' }) })
  expect(edited.devices['a']?.name).toBe('new')
  expect(fold(edited, { type: 'deviceRemoved', deviceId: 'a' }).devices).toEqual({})
})

test('a strip without a meter of its own draws what its sockets draw', () => {
  expect(stripPower({ ts: 1, powerW: 5, sockets: [{ socketId: 1, powerW: 3 }] })).toBe(5)
  expect(stripPower({ ts: 1, sockets: [{ socketId: 1, powerW: 3 }, { socketId: 2, powerW: 4 }] })).toBe(7)
  expect(stripPower({ ts: 1 })).toBeNull()
})

test('the fleet\'s curve has a gap where the connection was lost, and none where the totals stood still', () => {
  const fleet = { devices: 1, online: 1, offline: 0, never: 0, powerW: 42 }
  const snap = (at: number): Received => ({
    at,
    message: { type: 'snapshot', topics: [], version: '1', now: new Date(at).toISOString(), devices: [], fleet },
  })
  const still = reduce(NOTHING, [snap(AT), { at: AT + 60_000, message: { type: 'fleet', ...fleet } }])
  expect(still.fleetPower).toEqual([[AT, 42], [AT + 60_000, 42]])
  const lost = reduce(NOTHING, [snap(AT), snap(AT + 60_000)])
  expect(lost.fleetPower).toEqual([[AT, 42], [AT + 1, null], [AT + 60_000, 42]])
})

test('what the server kept of the fleet\'s curve fills in before the live points', () => {
  const live = after({ type: 'fleet', devices: 1, online: 1, offline: 0, never: 0, powerW: 7 })
  const filled = backfill(live, { fleetPower: [{ ts: AT - 5_000, powerW: 5 }] })
  expect(filled.fleetPower).toEqual([[AT - 5_000, 5], [AT, 7]])
})
