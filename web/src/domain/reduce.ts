// Folds messages of the server into the live state.

import type { Command, Device, Sample } from '@/api/types'
import { type Live, LIVE_WINDOW_MS, MAX_COMMANDS, MAX_EVENTS, type ServerMessage } from './live'
import { extend, type Point } from './series'

/** Applies a batch in order. One copy of the devices per batch, whatever its length. */
export function reduce(live: Live, batch: readonly ServerMessage[]): Live {
  const draft = draftOf(live)
  for (const message of batch)
    apply(draft, message)
  return draft
}

/** What was asked for over REST, beside the live messages. */
export interface Known {
  readonly deviceId?: string
  readonly samples?: readonly Sample[]
  readonly commands?: readonly Command[]
}

/** Adds what REST told without overwriting anything newer that came live meanwhile. */
export function backfill(live: Live, known: Known): Live {
  const { deviceId, samples = [], commands = [] } = known
  if (deviceId === undefined)
    return live
  const points = samples.map((sample): Point => [sample.ts, sample.powerW ?? null])
  const draft = draftOf(live)
  // Live points win where both have one.
  draft.power[deviceId] = extend(extend([], points, LIVE_WINDOW_MS), live.power[deviceId] ?? [], LIVE_WINDOW_MS)
  for (const command of commands)
    applyCommand(draft, command)
  return draft
}

type Draft = {
  -readonly [K in keyof Live]: Live[K] extends Readonly<Record<string, infer V>> ? Record<string, V> : Live[K]
}

function draftOf(live: Live): Draft {
  return { ...live, devices: { ...live.devices }, power: { ...live.power }, commands: { ...live.commands } }
}

function apply(draft: Draft, message: ServerMessage): void {
  switch (message.type) {
    case 'snapshot':
      draft.devices = Object.fromEntries(message.devices.map((device) => [device.deviceId, device]))
      for (const command of message.commands ?? [])
        applyCommand(draft, command)
      draft.events = message.events ?? draft.events
      draft.version = message.version ?? draft.version
      if (message.fleet)
        applyFleet(draft, message.ts, message.fleet)
      return
    case 'fleet':
      applyFleet(draft, message.ts, message)
      return
    case 'telemetry':
      applySamples(draft, message.deviceId, message.samples)
      return
    case 'status':
      patch(draft, message.deviceId, (device) => ({
        ...device,
        sockets: message.sockets,
        ...(message.reported === undefined ? {} : { reported: message.reported }),
      }))
      return
    case 'DEVICE_ONLINE':
    case 'DEVICE_OFFLINE':
      patch(draft, message.deviceId, (device) => ({ ...device, presence: message.presence }))
      return
    case 'command':
      applyCommand(draft, message)
      return
    case 'event':
      if (!draft.events.some((event) => event.id === message.event.id))
        draft.events = [message.event, ...draft.events].slice(0, MAX_EVENTS)
      return
    default:
      unreachable(message)
  }
}

function applyFleet(draft: Draft, ts: number, fleet: NonNullable<Live['fleet']>): void {
  draft.fleet = fleet
  draft.fleetPower = extend(draft.fleetPower, [[ts, fleet.powerW]], LIVE_WINDOW_MS)
}

function applySamples(draft: Draft, deviceId: string, samples: readonly Sample[]): void {
  const points = samples.map((sample): Point => [sample.ts, sample.powerW ?? null])
  draft.power[deviceId] = extend(draft.power[deviceId] ?? [], points, LIVE_WINDOW_MS)
  patch(draft, deviceId, (device) => ({
    ...device,
    latest: samples.reduce((newest, sample) => newer(newest, sample), device.latest ?? null),
  }))
}

/** A late sample lands in the curve, but what is shown as "now" never goes back. */
function newer(before: Sample | null, sample: Sample): Sample {
  return before && before.ts > sample.ts ? before : sample
}

/** An answer to our own request may arrive after the live message that settled the command. */
function applyCommand(draft: Draft, command: Command): void {
  const known = draft.commands[command.deviceId] ?? []
  const before = known.find((other) => other.cmdId === command.cmdId)
  if (before && stage(before) > stage(command))
    return
  const others = known.filter((other) => other.cmdId !== command.cmdId)
  // Ids are UUIDv7: their order is the order of creation.
  draft.commands[command.deviceId] = [...others, command]
    .sort((a, b) => (a.cmdId < b.cmdId ? 1 : -1))
    .slice(0, MAX_COMMANDS)
}

/** How far a command has come; it never goes back. */
function stage(command: Command): number {
  if (command.state === 'pending')
    return 0
  return command.lateOutcome ? 2 : 1
}

function patch(draft: Draft, id: string, change: (device: Device) => Device): void {
  const device = draft.devices[id]
  if (device)
    draft.devices[id] = change(device)
}

function unreachable(message: never): void {
  // A newer server may send messages that this page does not know yet.
  void message
}
