// Which event types have a sentence of their own in the translations; a
// device's own types and newer ones are shown by name.

export const KNOWN_EVENTS = [
  'DEVICE_ONLINE', 'DEVICE_OFFLINE', 'device-added', 'device-deleted', 'credentials-changed',
  'identity-conflict', 'foreign-ack', 'orphan-ack', 'incident',
  'device.overload', 'device.button', 'device.boot',
] as const

export type KnownEvent = (typeof KNOWN_EVENTS)[number]

export function isKnownEvent(type: string): type is KnownEvent {
  return (KNOWN_EVENTS as readonly string[]).includes(type)
}
