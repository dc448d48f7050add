// Short names for the shapes of the API.

import type { components } from './schema'

type Schemas = components['schemas']

export type Device = Schemas['Device']
export type Presence = Schemas['Presence']
export type PresenceState = Schemas['PresenceState']
export type Socket = Schemas['SocketBody']
export type Sample = Schemas['SampleMessage']
export type Command = Schemas['Command']
export type CommandState = Schemas['StateName']
export type Action = Schemas['Action']
export type Origin = Schemas['Origin']
export type DeviceEvent = Schemas['EventMessage']
export type Session = Schemas['SessionBody']
export type Credentials = Schemas['CredentialsBody']
export type NewDevice = Schemas['DeviceNew']
export type Enrolment = Schemas['EnrolmentBody']
export type JoinMode = Schemas['JoinMode']
export type History = Schemas['History']
export type HistoryPoint = Schemas['HistoryPoint']
export type FleetTotals = Schemas['FleetTotals']
export type HealthReport = Schemas['HealthReport']
export type Part = Schemas['PartReport']
export type Intake = Schemas['IntakeReport']
export type SiteNode = Schemas['Node']
export type SiteNodes = Schemas['Nodes']
export type Problem = Schemas['Problem']
/** What the live connection tells of a device: a part of `Device`. */
export type LiveDevice = Omit<Schemas['DeviceMessage'], 'sockets'> & { sockets: Socket[] }
/** What the live connection tells of a command: a part of `Command`. */
export type CommandNews = Schemas['CommandMessage']
export type StatusNews = Schemas['StatusMessage']
export type PresenceNews = Schemas['PresenceMessage']
export type LiveMessage = Schemas['LiveMessage']
export type Subscribe = Schemas['Subscribe']
