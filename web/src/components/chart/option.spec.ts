import { expect, test } from 'vitest'
import { formatFor } from '@/format'
import { LIGHT } from '@/style/theme'
import { chartOption, type TimeChart } from './option'

const format = formatFor('en')
const chart = (more: Partial<TimeChart>): TimeChart => ({
  points: [[0, 10], [60_000, null], [120_000, 30]],
  band: [],
  from: 0,
  to: 120_000,
  palette: LIGHT,
  locale: 'en',
  value: format.power,
  tick: format.powerTick,
  moment: () => 'then',
  names: { value: 'Mean', min: 'Lowest', max: 'Highest' },
  ...more,
})

interface Series { data: [number, number | null][], connectNulls?: boolean }
const seriesOf = (it: TimeChart) => chartOption(it)['series'] as Series[]
const tooltipOf = (it: TimeChart) =>
  (chartOption(it)['tooltip'] as { formatter: (shown: unknown) => string }).formatter

test('a gap stays a gap', () => {
  const [line] = seriesOf(chart({}))
  expect(line?.data[1]).toEqual([60_000, null])
  expect(line?.connectNulls).toBe(false)
})

test('the band is the lowest value with the difference stacked on it, below the line', () => {
  const [low, width, line] = seriesOf(chart({ band: [[0, 4, 15], [60_000, null, null], [120_000, 20, 31]] }))
  expect(low?.data).toEqual([[0, 4], [60_000, null], [120_000, 20]])
  expect(width?.data).toEqual([[0, 11], [60_000, null], [120_000, 11]])
  expect(line?.data).toHaveLength(3)
})

test('the tooltip names time, value and range with units', () => {
  const text = tooltipOf(chart({ band: [[0, 4, 15]] }))([{ value: [0, 10] }])
  expect(text).toBe('then<br>Mean <b>10 W</b><br>Highest <b>15 W</b><br>Lowest <b>4.0 W</b>')
})

test('in a gap there is no tooltip', () => {
  expect(tooltipOf(chart({}))([{ value: [60_000, null] }])).toBe('')
})
