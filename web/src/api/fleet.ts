// Devices, their commands, telemetry and events.

import { http, take } from './client'
import type { operations } from './schema'
import type { Action, Command, Credentials, Device, JoinMode, NewDevice } from './types'

/** One page of a list. */
export interface Page<T> {
  items: T[]
  nextCursor?: string | null
}

export type DeviceQuery = NonNullable<operations['getDevices']['parameters']['query']>

/** What the whole site has used since its local midnight. */
export const energyToday = () => take(http.GET('/api/v1/stats/today'))

/** The fleet's power in the last minutes. */
export const fleetPower = (minutes: number) =>
  take(http.GET('/api/v1/stats/fleet/power', { params: { query: { minutes } } }))

export const listDevices = (query: DeviceQuery, signal?: AbortSignal) =>
  take(http.GET('/api/v1/devices', { params: { query }, signal: signal ?? null }))

export const getDevice = (deviceId: string) =>
  take(http.GET('/api/v1/devices/{deviceId}', { params: { path: { deviceId } } }))

export const addDevice = (body: NewDevice): Promise<{ credentials: Credentials }> =>
  take(http.POST('/api/v1/devices', { body }))

/** Edits the version that the person saw; a 412 if it has changed since. */
export const editDevice = (seen: Device, body: { name: string, location: string }) =>
  take(http.PATCH('/api/v1/devices/{deviceId}', {
    params: { path: { deviceId: seen.deviceId } },
    headers: { 'If-Match': `"${String(seen.version)}"` },
    body,
  }))

export const deleteDevice = (deviceId: string) =>
  take(http.DELETE('/api/v1/devices/{deviceId}', { params: { path: { deviceId } } }))

export const rotateCredentials = (deviceId: string) =>
  take(http.POST('/api/v1/devices/{deviceId}/credentials', { params: { path: { deviceId } } }))

export const approve = (deviceId: string) =>
  take(http.POST('/api/v1/devices/{deviceId}/approve', { params: { path: { deviceId } } }))

export const reject = (deviceId: string) =>
  take(http.POST('/api/v1/devices/{deviceId}/reject', { params: { path: { deviceId } } }))

export const enrolment = () => take(http.GET('/api/v1/enrolment'))

export const setJoinMode = (mode: JoinMode) => take(http.PATCH('/api/v1/enrolment', { body: { mode } }))

/** Replaces the join key; strips that still wait with the old one are disconnected. */
export const rotateJoinKey = () => take(http.POST('/api/v1/enrolment/key'))

export const sendCommand = (
  deviceId: string,
  socketId: number,
  body: { action: Action, onPending: 'refuse' | 'replace' },
): Promise<Command> =>
  take(http.POST('/api/v1/devices/{deviceId}/sockets/{socketId}/commands', {
    params: { path: { deviceId, socketId } },
    body,
  }))

export const cancelCommand = (cmdId: string): Promise<Command> =>
  take(http.DELETE('/api/v1/commands/{cmdId}', { params: { path: { cmdId } } }))

export const listCommands = (deviceId: string, limit = 10) =>
  take(http.GET('/api/v1/devices/{deviceId}/commands', { params: { path: { deviceId }, query: { limit } } }))

export const telemetry = (deviceId: string, minutes: number) =>
  take(http.GET('/api/v1/devices/{deviceId}/telemetry', { params: { path: { deviceId }, query: { minutes } } }))

export const history = (deviceId: string, range: { from: string, to: string }, signal?: AbortSignal) =>
  take(http.GET('/api/v1/devices/{deviceId}/history', {
    params: { path: { deviceId }, query: { ...range, resolution: 'auto' } },
    signal: signal ?? null,
  }))

export const listEvents = (query: { cursor?: string, limit?: number }) =>
  take(http.GET('/api/v1/events', { params: { query } }))
