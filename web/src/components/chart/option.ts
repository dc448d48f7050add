// What the time chart draws, as plain data for the chart library.

import type { EChartsCoreOption } from 'echarts/core'
import type { Point } from '@/domain/series'
import type { Palette } from '@/style/theme'

/** Lowest and highest value of an interval; `null` is a gap. */
export type Range = readonly [ts: number, min: number | null, max: number | null]

export interface TimeChart {
  readonly points: readonly Point[]
  /** Drawn as a pale band behind the line. */
  readonly band: readonly Range[]
  readonly from: number
  readonly to: number
  readonly palette: Palette
  /** A BCP 47 tag, for the times on the axis. */
  readonly locale: string
  readonly value: (value: number) => string
  readonly tick: (value: number) => string
  readonly moment: (ts: number) => string
  /** Names for the tooltip's lines. */
  readonly names: { readonly value: string, readonly min: string, readonly max: string }
}

// A canvas knows no custom properties.
const FONT = 'Inter, "Segoe UI", system-ui, -apple-system, "Noto Sans", "PingFang SC", "Microsoft YaHei", sans-serif'
const DAY_MS = 86_400_000

export function chartOption(chart: TimeChart): EChartsCoreOption {
  const { palette } = chart
  return {
    animation: false,
    textStyle: { fontFamily: FONT },
    grid: { left: 56, right: 12, top: 12, bottom: 26 },
    xAxis: {
      type: 'time',
      splitNumber: 6,
      min: chart.from,
      max: chart.to,
      axisLine: { lineStyle: { color: palette.line } },
      axisTick: { lineStyle: { color: palette.line } },
      axisLabel: { color: palette.inkSoft, hideOverlap: true, formatter: axisTime(chart) },
      splitLine: { show: false },
    },
    yAxis: {
      type: 'value',
      min: 0,
      splitNumber: 4,
      axisLabel: { color: palette.inkSoft, formatter: chart.tick },
      splitLine: { lineStyle: { color: palette.line } },
    },
    tooltip: {
      trigger: 'axis',
      confine: true,
      backgroundColor: palette.surface,
      borderColor: palette.line,
      textStyle: { color: palette.ink, fontSize: 13 },
      axisPointer: { lineStyle: { color: palette.inkSoft } },
      formatter: (shown: unknown) => tooltip(chart, shown),
    },
    series: [...bandSeries(chart), {
      type: 'line',
      data: chart.points,
      showSymbol: chart.points.length === 1,
      connectNulls: false,
      lineStyle: { width: 1.8, color: palette.accent },
      itemStyle: { color: palette.accent },
      areaStyle: { color: palette.accent, opacity: chart.band.length > 0 ? 0 : 0.12 },
      sampling: 'lttb',
      z: 3,
    }],
  }
}

/** The band is the lower line, unseen, with the difference stacked on it. */
function bandSeries({ band, palette }: TimeChart): object[] {
  if (band.length === 0)
    return []
  const line = { type: 'line', stack: 'band', stackStrategy: 'all', symbol: 'none', silent: true, lineStyle: { opacity: 0 } }
  return [
    { ...line, data: band.map(([ts, min]) => [ts, min]) },
    {
      ...line,
      data: band.map(([ts, min, max]) => [ts, min === null || max === null ? null : max - min]),
      areaStyle: { color: palette.accent, opacity: 0.18 },
    },
  ]
}

function axisTime({ from, to, locale }: TimeChart): (ts: number) => string {
  const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hour12: false })
  const day = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric' })
  const long = to - from > 2 * DAY_MS
  return (ts) => {
    const date = new Date(ts)
    return long || (date.getHours() === 0 && date.getMinutes() === 0) ? day.format(ts) : clock.format(ts)
  }
}

function tooltip(chart: TimeChart, shown: unknown): string {
  const ts = momentOf(shown)
  const point = chart.points.find(([at]) => at === ts)
  if (!point || point[1] === null)
    return ''
  const range = chart.band.find(([at]) => at === ts)
  const lines: [string, number | null | undefined][] = [
    [chart.names.value, point[1]], [chart.names.max, range?.[2]], [chart.names.min, range?.[1]],
  ]
  const rows = lines
    .filter((line): line is [string, number] => typeof line[1] === 'number')
    .map(([name, value]) => `${name} <b>${chart.value(value)}</b>`)
  return [chart.moment(ts), ...rows].join('<br>')
}

function momentOf(shown: unknown): number {
  const first: unknown = Array.isArray(shown) ? shown.at(-1) : shown
  const value = typeof first === 'object' && first !== null && 'value' in first ? first.value : undefined
  return Array.isArray(value) ? Number(value[0]) : Number.NaN
}
