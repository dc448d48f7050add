import { expect, test } from 'vitest'
import type { LiveDevice } from '@/api/types'
import { offlineDevices, placesOf, topConsumers } from './fleet'

const device = (deviceId: string, state: LiveDevice['presence']['state'], more: Partial<LiveDevice> = {}): LiveDevice =>
  ({ deviceId, name: '', location: '', presence: { state }, sockets: [], ...more })

test('what just went offline comes first', () => {
  const at = (deviceId: string, since: string) => device(deviceId, 'offline', { presence: { state: 'offline', since } })
  const list = offlineDevices([at('old', '2026-01-01T00:00:00Z'), device('on', 'online'), at('new', '2026-02-01T00:00:00Z')])
  expect(list.map((one) => one.deviceId)).toEqual(['new', 'old'])
})

test('only devices that are there can draw most', () => {
  const list = topConsumers([
    device('a', 'online', { latest: { ts: 1, powerW: 5 } }),
    device('b', 'online', { latest: { ts: 1, powerW: 50 } }),
    device('gone', 'offline', { latest: { ts: 1, powerW: 500 } }),
    device('idle', 'online', { latest: { ts: 1, powerW: 0 } }),
  ], 5)
  expect(list.map((one) => one.deviceId)).toEqual(['b', 'a'])
})

test('places are listed with those above them, by number where they have one', () => {
  expect(placesOf(['A/10/1001', 'A/3/302', '', 'B'])).toEqual(['A', 'A/3', 'A/3/302', 'A/10', 'A/10/1001', 'B'])
})
