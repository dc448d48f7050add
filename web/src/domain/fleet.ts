// Questions about the whole fleet.

import type { LiveDevice } from '@/api/types'

/** Offline devices, the longest gone last: what just broke comes first. */
export function offlineDevices(devices: readonly LiveDevice[]): LiveDevice[] {
  return devices
    .filter((device) => device.presence.state === 'offline')
    .sort((a, b) => (b.presence.since ?? '').localeCompare(a.presence.since ?? ''))
}

/** The devices online that draw most now. */
export function topConsumers(devices: readonly LiveDevice[], count: number): LiveDevice[] {
  return devices
    .filter((device) => device.presence.state === 'online' && (device.latest?.powerW ?? 0) > 0)
    .sort((a, b) => (b.latest?.powerW ?? 0) - (a.latest?.powerW ?? 0))
    .slice(0, count)
}

/** Every place above the given locations, in order: A, A/3, A/3/302. */
export function placesOf(locations: readonly string[]): string[] {
  const places = new Set<string>()
  for (const location of locations) {
    const parts = location.split('/').filter(Boolean)
    for (let depth = 1; depth <= parts.length; depth++)
      places.add(parts.slice(0, depth).join('/'))
  }
  return [...places].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
}
