// What the server says over the WebSocket, folded into one value.
// Plain data and pure functions: no Vue, no fetch, no clock.

import type {
  Command, Device, DeviceEvent, FleetTotals, Presence, Sample, Socket,
} from '@/api/types'
import type { Point } from './series'

/** Everything the page knows from the live connection. */
export interface Live {
  /** Totals of the fleet; absent before the first snapshot that has them. */
  readonly fleet: FleetTotals | undefined
  /** Power of the fleet, newest last. */
  readonly fleetPower: readonly Point[]
  readonly devices: Readonly<Record<string, Device>>
  /** Power per watched device, newest last. */
  readonly power: Readonly<Record<string, readonly Point[]>>
  /** Commands by device, newest first. */
  readonly commands: Readonly<Record<string, readonly Command[]>>
  /** Newest first. */
  readonly events: readonly DeviceEvent[]
  /** The server's version, to notice an upgrade under an open page. */
  readonly version: string | undefined
}

/** A message of the server. */
export type ServerMessage
  = | {
    type: 'snapshot'
    ts: number
    version?: string
    fleet?: FleetTotals | null
    devices: Device[]
    events?: DeviceEvent[]
    commands?: Command[]
  }
  | ({ type: 'fleet', ts: number } & FleetTotals)
  | { type: 'telemetry', deviceId: string, samples: Sample[] }
  | { type: 'status', deviceId: string, sockets: Socket[], reported?: Device['reported'] }
  | ({ type: 'command' } & Command)
  | { type: 'DEVICE_ONLINE' | 'DEVICE_OFFLINE', deviceId: string, presence: Presence }
  | { type: 'event', event: DeviceEvent }

/** How far back the live curves reach. */
export const LIVE_WINDOW_MS = 30 * 60_000
/** Newest events kept. */
export const MAX_EVENTS = 50
/** Newest commands kept per device. */
export const MAX_COMMANDS = 10

export const NOTHING: Live = {
  fleet: undefined,
  fleetPower: [],
  devices: {},
  power: {},
  commands: {},
  events: [],
  version: undefined,
}
