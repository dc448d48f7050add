// Folds messages of the server into the live state.

import type {
  Command, CommandNews, DeviceEvent, FleetTotals, LiveDevice, LiveMessage, PresenceNews, Sample,
} from '@/api/types'
import { type Live, LIVE_WINDOW_MS, MAX_COMMANDS, MAX_EVENTS, type Received } from './live'
import { extend, type Point } from './series'

/** A snapshot that comes so long after the last totals ends a gap. */
const FLEET_GAP_MS = 20_000

/** Applies a batch in order. One copy of the devices per batch, whatever its length. */
export function reduce(live: Live, batch: readonly Received[]): Live {
  const draft = draftOf(live)
  for (const { at, message } of batch)
    apply(draft, message, at)
  return draft
}

/** Keeps the curves of these devices from now on, and of no other. */
export function watchCurves(live: Live, watched: readonly string[]): Live {
  const kept = Object.entries(live.power).filter(([id]) => watched.includes(id))
  return { ...live, watched, power: Object.fromEntries(kept) }
}

/** What was asked for over REST, beside the live messages. */
export interface Known {
  readonly deviceId?: string
  readonly samples?: readonly Sample[]
  readonly commands?: readonly Command[]
  readonly fleetPower?: readonly { readonly ts: number, readonly powerW: number }[]
}

/** Adds what REST told without overwriting anything newer that came live meanwhile. */
export function backfill(live: Live, known: Known): Live {
  const { deviceId, samples = [], commands = [], fleetPower = [] } = known
  const draft = draftOf(live)
  if (deviceId !== undefined) {
    const points = samples.map((sample): Point => [sample.ts, stripPower(sample)])
    // Live points win where both have one.
    draft.power[deviceId] = extend(extend([], points, LIVE_WINDOW_MS), live.power[deviceId] ?? [], LIVE_WINDOW_MS)
  }
  for (const command of commands)
    applyCommand(draft, command)
  if (fleetPower.length > 0) {
    const points = fleetPower.map(({ ts, powerW }): Point => [ts, powerW])
    draft.fleetPower = extend(extend([], points, LIVE_WINDOW_MS), live.fleetPower, LIVE_WINDOW_MS)
  }
  return draft
}

/** What a strip draws: its own reading, else the sum of its sockets'. */
export function stripPower(sample: Sample): number | null {
  if (typeof sample.powerW === 'number')
    return sample.powerW
  const sockets = sample.sockets?.map((socket) => socket.powerW).filter((watts) => typeof watts === 'number') ?? []
  return sockets.length > 0 ? sockets.reduce((sum, watts) => sum + watts, 0) : null
}

type Draft = {
  -readonly [K in keyof Live]: Live[K] extends Readonly<Record<string, infer V>> ? Record<string, V> : Live[K]
}

function draftOf(live: Live): Draft {
  return {
    ...live,
    devices: { ...live.devices },
    status: { ...live.status },
    power: { ...live.power },
    commands: { ...live.commands },
  }
}

function apply(draft: Draft, message: LiveMessage, at: number): void {
  switch (message.type) {
    case 'snapshot':
      draft.devices = Object.fromEntries(message.devices.map((device) => [device.deviceId, device]))
      draft.skewMs = Date.parse(message.now) - at
      draft.events = message.events ?? draft.events
      draft.version = message.version
      if (message.fleet) {
        openGap(draft, at + draft.skewMs)
        applyFleet(draft, message.fleet, at)
      }
      return
    case 'fleet':
      applyFleet(draft, message, at)
      return
    case 'telemetry':
      applySamples(draft, message.deviceId, message.samples)
      return
    case 'status':
      draft.status[message.deviceId] = message
      patch(draft, message.deviceId, (device) => ({ ...device, sockets: message.sockets }))
      return
    case 'DEVICE_ONLINE':
    case 'DEVICE_OFFLINE':
      patch(draft, message.deviceId, (device) => ({ ...device, presence: message.presence }))
      applyEvent(draft, presenceEvent(message.type, message, at))
      return
    case 'command':
      applyCommand(draft, message)
      return
    case 'event':
      applyEvent(draft, message.event)
      return
    case 'device':
      draft.devices[message.deviceId] = message
      return
    case 'deviceRemoved':
      draft.devices = Object.fromEntries(Object.entries(draft.devices).filter(([id]) => id !== message.deviceId))
      return
    case 'error':
      return
    default:
      unreachable(message)
  }
}

/** Totals are told when they change; only where the connection was lost is their curve unknown. */
function openGap(draft: Draft, now: number): void {
  const last = draft.fleetPower.at(-1)
  if (last && now - last[0] > FLEET_GAP_MS)
    draft.fleetPower = extend(draft.fleetPower, [[last[0] + 1, null]], LIVE_WINDOW_MS)
}

function applyFleet(draft: Draft, fleet: FleetTotals, at: number): void {
  draft.fleet = fleet
  draft.fleetPower = extend(draft.fleetPower, [[at + draft.skewMs, fleet.powerW]], LIVE_WINDOW_MS)
}

function applySamples(draft: Draft, deviceId: string, samples: readonly Sample[]): void {
  if (draft.watched.includes(deviceId)) {
    const points = samples.map((sample): Point => [sample.ts, stripPower(sample)])
    draft.power[deviceId] = extend(draft.power[deviceId] ?? [], points, LIVE_WINDOW_MS)
  }
  patch(draft, deviceId, (device) => ({
    ...device,
    latest: samples.reduce((newest, sample) => newer(newest, sample), device.latest ?? null),
  }))
}

/** A late sample lands in the curve, but what is shown as "now" never goes back; what it lacks stays. */
function newer(before: Sample | null, sample: Sample): Sample {
  return before && before.ts > sample.ts ? before : { ...before, ...sample }
}

/** An answer to our own request may arrive after the live message that settled the command. */
function applyCommand(draft: Draft, command: CommandNews): void {
  const known = draft.commands[command.deviceId] ?? []
  const before = known.find((other) => other.cmdId === command.cmdId)
  const merged = before && stage(before) > stage(command) ? { ...command, ...before } : { ...before, ...command }
  const others = known.filter((other) => other.cmdId !== command.cmdId)
  // Ids are UUIDv7: their order is the order of creation.
  draft.commands[command.deviceId] = [...others, merged]
    .sort((a, b) => (a.cmdId < b.cmdId ? 1 : -1))
    .slice(0, MAX_COMMANDS)
}

/** How far a command has come; it never goes back. */
function stage(command: CommandNews): number {
  if (command.state === 'pending')
    return 0
  return command.lateOutcome ? 2 : 1
}

/** A change of presence is an event that is told once, as the change itself. */
function presenceEvent(type: string, { deviceId, presence, eventId }: PresenceNews, at: number): DeviceEvent {
  const ts = presence.since ?? new Date(at).toISOString()
  const severity = type === 'DEVICE_OFFLINE' ? 'warning' : 'info'
  return { id: eventId, deviceId, type, severity, ts, receivedAt: ts, origin: { kind: 'server' }, data: {} }
}

function applyEvent(draft: Draft, event: DeviceEvent): void {
  if (!draft.events.some((known) => known.id === event.id))
    draft.events = [event, ...draft.events].slice(0, MAX_EVENTS)
}

function patch(draft: Draft, id: string, change: (device: LiveDevice) => LiveDevice): void {
  const device = draft.devices[id]
  if (device)
    draft.devices[id] = change(device)
}

function unreachable(message: never): void {
  // A newer server may send messages that this page does not know yet.
  void message
}
