// What a switch shows of its last command.

import type { Command, CommandState, Socket } from '@/api/types'

/** How a state is coloured. */
export type Tone = 'busy' | 'good' | 'bad' | 'quiet'

export const TONES: Readonly<Record<CommandState, Tone>> = {
  pending: 'busy',
  success: 'good',
  failed: 'bad',
  timeout: 'bad',
  cancelled: 'quiet',
}

/** The newest command that moves a socket: its own, or one for the whole strip (socket 0). */
export function latestFor(commands: readonly Command[], socketId: number): Command | undefined {
  return commands.find((command) => command.socketId === socketId || command.socketId === 0)
}

/** The command that holds a socket, if one is pending. The whole strip is held by any. */
export function pendingFor(commands: readonly Command[], socketId: number): Command | undefined {
  return commands.find((command) =>
    command.state === 'pending'
    && (socketId === 0 || command.socketId === 0 || command.socketId === socketId))
}

/** How long a success stays on the switch before its origin takes its place. */
const SUCCESS_SHOWN_MS = 10_000

/** The command to report on the switch: pending or unsuccessful until something newer happens, success briefly. */
export function shownOn(commands: readonly Command[], socket: Socket, nowMs: number): Command | undefined {
  const latest = latestFor(commands, socket.socketId)
  if (!latest || latest.state === 'pending')
    return latest
  if (latest.state === 'success')
    return nowMs - Date.parse(latest.settledAt ?? latest.createdAt) < SUCCESS_SHOWN_MS ? latest : undefined
  return Date.parse(socket.changedAt) > Date.parse(latest.createdAt) ? undefined : latest
}

/** Where the switch stands: what was asked for while that is pending, else what the strip reports. */
export function switchedOn(socket: Socket, pending: Command | undefined): boolean {
  return pending ? pending.action !== 'off' : socket.on
}
