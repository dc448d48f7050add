// What the server says over the WebSocket, folded into one value.
// Plain data: no Vue, no fetch, no clock.

import type { CommandNews, DeviceEvent, FleetTotals, LiveDevice, LiveMessage, StatusNews } from '@/api/types'
import type { Point } from './series'

/** Everything the page knows from the live connection. */
export interface Live {
  /** Totals of the fleet; absent before the first snapshot that has them. */
  readonly fleet: FleetTotals | undefined
  /** Power of the fleet, newest last. */
  readonly fleetPower: readonly Point[]
  readonly devices: Readonly<Record<string, LiveDevice>>
  /** The last status per device, since this page looks. */
  readonly status: Readonly<Record<string, StatusNews>>
  /** The devices whose curves are kept; a big fleet's would fill the memory. */
  readonly watched: readonly string[]
  /** Power per watched device, newest last. */
  readonly power: Readonly<Record<string, readonly Point[]>>
  /** Commands by device, newest first; whole ones from REST, or only news. */
  readonly commands: Readonly<Record<string, readonly CommandNews[]>>
  /** Newest first. */
  readonly events: readonly DeviceEvent[]
  /** The server's version, to notice an upgrade under an open page. */
  readonly version: string | undefined
  /** How far the server's clock is ahead of ours, ms. */
  readonly skewMs: number
}

/** A message and when we received it, unix ms by our own clock. */
export interface Received {
  readonly at: number
  readonly message: LiveMessage
}

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
  status: {},
  watched: [],
  power: {},
  commands: {},
  events: [],
  version: undefined,
  skewMs: 0,
}
