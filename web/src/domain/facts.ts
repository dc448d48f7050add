// What is known of a device, as names and texts.

import type { Device } from '@/api/types'
import type { Format } from '@/format'

export type Fact = readonly [name: string, value: string | null | undefined]
type Translate = (key: string) => string

/** The latest readings. */
export function readingFacts(device: Device, format: Format, t: Translate): Fact[] {
  const latest = device.latest
  return [
    [t('field.power'), format.power(latest?.powerW)],
    [t('field.voltage'), format.voltage(latest?.voltageV)],
    [t('field.current'), format.current(latest?.currentA)],
    [t('field.powerFactor'), format.ratio(latest?.powerFactor)],
    [t('field.energy'), format.energy(latest?.energyWh)],
    [t('field.energyToday'), device.energyTodayWh === undefined ? undefined : format.energy(device.energyTodayWh)],
  ]
}

/** What the strip says of itself, and where it stands. */
export function aboutFacts(device: Device, format: Format, t: Translate, nowMs: number): Fact[] {
  const said = device.reported
  return [
    [t('field.name'), device.name],
    [t('field.location'), device.location],
    [t('field.lastSeen'), device.presence.lastSeen ? format.ago(device.presence.lastSeen, nowMs) : t('common.never')],
    [t('field.firmware'), said?.firmware],
    [t('field.ip'), said?.ip],
    [t('field.mac'), said?.mac],
    [t('field.rssi'), typeof said?.rssiDbm === 'number' ? format.signal(said.rssiDbm) : undefined],
    [t('field.uptime'), typeof said?.uptimeS === 'number' ? format.duration(said.uptimeS) : undefined],
    [t('field.period'), typeof device.periodS === 'number' ? format.duration(device.periodS) : undefined],
    [t('field.created'), format.moment(device.createdAt)],
  ]
}
