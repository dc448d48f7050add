// Ranges of the history chart and what its points become.

import type { Range } from '@/components/chart/option'
import type { History, HistoryPoint } from '@/api/types'
import { type Point, usualStepMs, withGaps } from './series'

export const RANGES = { hour: 3_600_000, day: 86_400_000, week: 7 * 86_400_000, month: 30 * 86_400_000 } as const
export type RangeName = keyof typeof RANGES

/** Mean power as a line, lowest and highest as a band, gaps kept as gaps. */
export function historyCurve(history: readonly HistoryPoint[]): { points: Point[], band: Range[] } {
  const means = history.map((point): Point => [point.ts, point.powerW ?? null])
  const points = withGaps(means, 2.5 * (usualStepMs(means) ?? Infinity))
  const byTime = new Map(history.map((point) => [point.ts, point]))
  const ranged = history.some((point) => typeof point.minPowerW === 'number')
  const band = ranged
    ? points.map(([ts]): Range => [ts, byTime.get(ts)?.minPowerW ?? null, byTime.get(ts)?.maxPowerW ?? null])
    : []
  return { points, band }
}

/** Energy of the whole range; `undefined` where no point tells. Raw points carry the meter's counter instead. */
export function totalEnergyWh({ resolution, points }: Pick<History, 'resolution' | 'points'>): number | undefined {
  if (resolution === 'raw')
    return undefined
  const known = points.map((point) => point.energyWh).filter((wh) => typeof wh === 'number')
  return known.length > 0 ? known.reduce((sum, wh) => sum + wh, 0) : undefined
}
