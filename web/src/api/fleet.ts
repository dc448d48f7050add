// Devices, their commands, telemetry and events.

import { call } from './client'
import type {
  Action, Command, Credentials, Device, DeviceEvent, Enrolment, HistoryPoint, PresenceState, Sample,
} from './types'

export interface Page<T> {
  items: T[]
  nextCursor: string | null
}

export interface DeviceQuery {
  q?: string | undefined
  state?: 'pending' | 'active'
  presence?: PresenceState | undefined
  location?: string | undefined
  cursor?: string | undefined
  limit?: number
}

export interface NewDevice {
  deviceId: string
  name?: string
  location?: string
  sockets?: number
}

const device = (id: string, rest = '') => `devices/${encodeURIComponent(id)}${rest}`

/** What the whole site has used since its local midnight. */
export function energyToday(): Promise<{ energyWh: number }> {
  return call('GET', 'stats/today')
}

export function listDevices(query: DeviceQuery, signal?: AbortSignal): Promise<Page<Device>> {
  return call('GET', 'devices', { query: { ...query }, signal })
}

export function getDevice(id: string): Promise<Device> {
  return call('GET', device(id))
}

export function addDevice(body: NewDevice): Promise<{ credentials: Credentials }> {
  return call('POST', 'devices', { body })
}

/** Edits the version that the person saw; a 412 if it has changed since. */
export function editDevice(seen: Device, body: { name?: string, location?: string }): Promise<Device> {
  return call('PATCH', device(seen.deviceId), { body, headers: { 'if-match': `"${String(seen.version)}"` } })
}

export function deleteDevice(id: string): Promise<void> {
  return call('DELETE', device(id))
}

export function rotateCredentials(id: string): Promise<{ credentials: Credentials }> {
  return call('POST', device(id, '/credentials'))
}

export function approve(id: string): Promise<void> {
  return call('POST', device(id, '/approve'))
}

export function reject(id: string): Promise<void> {
  return call('POST', device(id, '/reject'))
}

export function enrolment(): Promise<Enrolment> {
  return call('GET', 'enrolment')
}

export function setJoinMode(mode: Enrolment['mode']): Promise<Enrolment> {
  return call('PATCH', 'enrolment', { body: { mode } })
}

/** Replaces the join key; strips that still wait with the old one are disconnected. */
export function rotateJoinKey(): Promise<Enrolment> {
  return call('POST', 'enrolment/key')
}

export function sendCommand(id: string, socketId: number, body: {
  action: Action
  onPending?: 'refuse' | 'replace'
}): Promise<Command> {
  return call('POST', device(id, `/sockets/${String(socketId)}/commands`), { body })
}

export function cancelCommand(cmdId: string): Promise<Command> {
  return call('DELETE', `commands/${encodeURIComponent(cmdId)}`)
}

export function listCommands(id: string, limit = 10): Promise<Page<Command>> {
  return call('GET', device(id, '/commands'), { query: { limit } })
}

export function telemetry(id: string, minutes: number): Promise<{ items: Sample[], thinnedBefore?: string | null }> {
  return call('GET', device(id, '/telemetry'), { query: { minutes } })
}

export interface HistoryQuery {
  from: string
  to: string
  resolution?: string
  socketId?: number
}

export interface History {
  resolution: string
  points: HistoryPoint[]
}

export function history(id: string, query: HistoryQuery, signal?: AbortSignal): Promise<History> {
  return call('GET', device(id, '/history'), { query: { ...query }, signal })
}

export function listEvents(query: { deviceId?: string, cursor?: string, limit?: number }): Promise<Page<DeviceEvent>> {
  return call('GET', 'events', { query })
}
