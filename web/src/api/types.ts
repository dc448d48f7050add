// Short names for the shapes of the API.

import type { components } from './schema'

type Schemas = components['schemas']

export type Device = Schemas['Device']
export type Presence = Schemas['Presence']
export type PresenceState = Presence['state']
export type Socket = Schemas['Socket']
export type Sample = Schemas['Sample']
export type Command = Schemas['Command']
export type CommandState = Command['state']
export type Action = Command['action']
export type Origin = Schemas['Origin']
export type DeviceEvent = Schemas['Event']
export type Severity = DeviceEvent['severity']
export type Session = Schemas['Session']
export type Credentials = Schemas['Credentials']
export type FleetTotals = Schemas['FleetTotals']
/** What the live connection tells of a device: a part of `Device`. */
export type LiveDevice = Schemas['DeviceMessage']
/** What the live connection tells of a command: a part of `Command`. */
export type CommandNews = Schemas['CommandMessage']
export type StatusNews = Schemas['StatusMessage']
export type PresenceNews = Schemas['PresenceMessage']
export type LiveMessage = Schemas['LiveMessage']
export type HistoryPoint = Schemas['HistoryPoint']
export type Enrolment = Schemas['Enrolment']
export type Problem = Schemas['Problem']
