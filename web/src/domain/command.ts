// What a switch shows of its last command.

import type { Command, CommandNews, CommandState, Socket } from '@/api/types'

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
export function latestFor(commands: readonly CommandNews[], socketId: number): CommandNews | undefined {
  return commands.find((command) => command.socketId === socketId || command.socketId === 0)
}

/** The command that holds a socket, if one is pending. The whole strip is held by any. */
export function pendingFor(commands: readonly CommandNews[], socketId: number): CommandNews | undefined {
  return commands.find((command) =>
    command.state === 'pending'
    && (socketId === 0 || command.socketId === 0 || command.socketId === socketId))
}

/** Whether it is a whole command, as REST tells, or only news of one. */
export function isWhole(command: CommandNews): command is Command {
  return 'origin' in command
}

/** When it was made, unix ms: an id (UUIDv7) begins with it. */
export function madeAt(command: CommandNews): number {
  return Number.parseInt(command.cmdId.replace('-', '').slice(0, 12), 16)
}

/** How long a success stays on the switch before its origin takes its place. */
const SUCCESS_SHOWN_MS = 10_000

/** The command to report on the switch: pending or unsuccessful until something newer happens, success briefly. */
export function shownOn(commands: readonly CommandNews[], socket: Socket, nowMs: number): CommandNews | undefined {
  const latest = latestFor(commands, socket.socketId)
  if (!latest || latest.state === 'pending')
    return latest
  if (latest.state === 'success')
    return nowMs - madeAt(latest) < SUCCESS_SHOWN_MS ? latest : undefined
  return Date.parse(socket.changedAt ?? '') > madeAt(latest) ? undefined : latest
}

/** Where the switch stands: what was asked for while that is pending, else what the strip reports. */
export function switchedOn(socket: Socket, pending: CommandNews | undefined): boolean {
  return pending ? pending.action !== 'off' : socket.on === true
}
