import { describe, expect, test } from 'vitest'
import { formatFor, MISSING } from './format'

const en = formatFor('en')
const zh = formatFor('zh-CN')

test.each([
  [0, '0 W'], [0.4, '0.4 W'], [9.94, '9.9 W'], [205.3, '205 W'], [999.4, '999 W'],
  [1_240, '1.24 kW'], [-1_500, '-1.50 kW'], [2_345_678, '2.35 MW'],
])('power %d is %s', (watts, text) => {
  expect(en.power(watts)).toBe(text)
})

test.each([
  [0, '0 Wh'], [820, '820 Wh'], [12_345, '12.35 kWh'], [128_345.6, '128 kWh'], [1_200_000, '1.20 MWh'],
])('energy %d is %s', (wattHours, text) => {
  expect(en.energy(wattHours)).toBe(text)
})

test.each([
  [0, '0 B'], [1_023, '1,023 B'], [1_536, '1.5 KiB'], [67_108_864, '64 MiB'], [1_181_116_006, '1.1 GiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(en.bytes(bytes)).toBe(text)
})

test.each([[0, '0%'], [0.000_1, '< 1%'], [0.034, '3%'], [1, '100%']])('%d of all is %s', (ratio, text) => {
  expect(en.percent(ratio)).toBe(text)
})

test('a missing value is a dash, never a zero', () => {
  const { power, energy, voltage, current, ratio, signal, count, bytes, percent, clock, duration } = en
  for (const show of [power, energy, voltage, current, ratio, signal, count, bytes, percent, clock, duration]) {
    expect(show(null)).toBe(MISSING)
    expect(show(undefined)).toBe(MISSING)
  }
  expect(en.power(Number.NaN)).toBe(MISSING)
  expect(en.moment('no time')).toBe(MISSING)
})

describe('how long ago', () => {
  const now = Date.UTC(2026, 0, 1)
  test.each([
    [3_000, '3 sec. ago'], [61_000, '1 min. ago'], [7_200_000, '2 hr. ago'], [86_400_000, 'yesterday'],
  ])('%d ms', (before, text) => {
    expect(en.ago(now - before, now)).toBe(text)
  })

  test('a moment ahead of our clock is now, not the future', () => {
    expect(en.ago(now + 5_000, now)).toBe('now')
  })

  test('in Chinese', () => {
    expect(zh.ago(new Date(now - 3_000).toISOString(), now)).toBe('3秒前')
  })
})

test.each([[0, '0s'], [59, '59s'], [93_600, '1d 2h'], [32_400, '9h'], [3_660, '1h 1m']])('%d seconds last %s', (seconds, text) => {
  expect(en.duration(seconds)).toBe(text)
})

test('an axis shows no more digits than it needs', () => {
  expect([0, 500, 1_000, 1_500].map(en.powerTick)).toEqual(['0 W', '500 W', '1 kW', '1.5 kW'])
})
