// The grammar of device ids, and what a telling id suggests.

const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/

export function isDeviceId(id: string): boolean {
  return DEVICE_ID.test(id)
}

/** `A-302-strip01` suggests building A, floor 3, room 302; the server's rule, shown while typing. */
export function suggestLocation(id: string): string | undefined {
  const [, building, room] = /^([A-Za-z][A-Za-z0-9]{0,3})[-_]([1-9]\d{2,3})[-_][^-_]/.exec(id) ?? []
  return building !== undefined && room !== undefined ? `${building}/${room.slice(0, -2)}/${room}` : undefined
}
