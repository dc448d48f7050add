import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { PAINT_MS, useLive } from './live'

beforeEach(() => {
  vi.useFakeTimers()
  setActivePinia(createPinia())
})
afterEach(() => vi.useRealTimers())

const snapshot = (version: string) => ({
  type: 'snapshot' as const, topics: [], now: '2026-11-01T00:00:00Z', version, devices: [],
})

test('a burst of messages is one paint', async () => {
  const live = useLive()
  live.want(['device:a'])
  await Promise.resolve()
  const before = live.live
  for (let ms = 1; ms <= 50; ms++)
    live.receive({ type: 'telemetry', deviceId: 'a', samples: [{ ts: ms, powerW: ms }] })
  expect(live.live).toBe(before)
  vi.advanceTimersByTime(PAINT_MS)
  expect(live.live.power['a']).toHaveLength(50)
})

test('another version of the server is noticed, the same one is not', () => {
  const live = useLive()
  live.receive(snapshot('1'))
  live.paint()
  live.receive(snapshot('1'))
  live.paint()
  expect(live.upgraded).toBe(false)
  live.receive(snapshot('2'))
  live.paint()
  expect(live.upgraded).toBe(true)
})
