import { expect, test } from 'vitest'
import { historyCurve, totalEnergyWh } from './history'

test('missing buckets are a gap in line and band', () => {
  const { points, band } = historyCurve([0, 60, 120, 600, 660].map((s) =>
    ({ ts: s * 1_000, powerW: 5, minPowerW: 4, maxPowerW: 6 })))
  expect(points.map(([, watts]) => watts)).toEqual([5, 5, 5, null, 5, 5])
  expect(band.map(([, low]) => low)).toEqual([4, 4, 4, null, 4, 4])
})

test('raw points have no band', () => {
  expect(historyCurve([{ ts: 0, powerW: 1 }, { ts: 1_000, powerW: 2 }]).band).toEqual([])
})

test('energy is summed where it is known', () => {
  const points = [{ ts: 0, energyWh: 1.5 }, { ts: 1, energyWh: null }, { ts: 2, energyWh: 2 }]
  expect(totalEnergyWh({ resolution: 'minute', points })).toBe(3.5)
  expect(totalEnergyWh({ resolution: 'minute', points: [{ ts: 0 }] })).toBeUndefined()
})

test('the meter\'s counter in raw points is no energy used', () => {
  expect(totalEnergyWh({ resolution: 'raw', points: [{ ts: 0, energyWh: 1_830_000 }] })).toBeUndefined()
})
