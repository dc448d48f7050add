// Series of (time, value) points: bounded, in order, with gaps kept as gaps.

/** Milliseconds since the epoch and a value; `null` is a gap. */
export type Point = readonly [ts: number, value: number | null]

/** Adds points to an ordered series; older than `keepMs` before the newest falls off. */
export function extend(series: readonly Point[], added: readonly Point[], keepMs: number): readonly Point[] {
  if (added.length === 0)
    return series
  const last = series.at(-1)?.[0] ?? -Infinity
  const inOrder = added.every((point, i) => point[0] > (i === 0 ? last : (added[i - 1]?.[0] ?? last)))
  const joined = inOrder ? [...series, ...added] : merge(series, added)
  const oldest = (joined.at(-1)?.[0] ?? 0) - keepMs
  const from = joined.findIndex((point) => point[0] >= oldest)
  return from > 0 ? joined.slice(from) : joined
}

/** Puts a gap wherever two neighbours are further apart than `maxGapMs`. */
export function withGaps(series: readonly Point[], maxGapMs: number): Point[] {
  const out: Point[] = []
  for (const point of series) {
    const before = out.at(-1)
    if (before && point[0] - before[0] > maxGapMs)
      out.push([before[0] + 1, null])
    out.push(point)
  }
  return out
}

/** The usual distance between two points: the median, robust against gaps. */
export function usualStepMs(series: readonly Point[]): number | undefined {
  const steps = series
    .slice(1)
    .map((point, i) => point[0] - (series[i]?.[0] ?? point[0]))
    .filter((step) => step > 0)
    .sort((a, b) => a - b)
  return steps[Math.floor(steps.length / 2)]
}

function merge(a: readonly Point[], b: readonly Point[]): Point[] {
  const byTime = new Map<number, Point>()
  for (const point of [...a, ...b])
    byTime.set(point[0], point)
  return [...byTime.values()].sort((x, y) => x[0] - y[0])
}
