// Numbers with units, durations and times: the one place that turns values
// into text. A missing value is a dash, never a zero.

export const MISSING = '–'

/** Formats for one language. */
export interface Format {
  /** 205 W, 1.24 kW */
  power: (watts: number | null | undefined) => string
  /** The same with no more digits than an axis needs: 500 W, 1.5 kW. */
  powerTick: (watts: number) => string
  /** 820 Wh, 12.3 kWh, 1.20 MWh */
  energy: (wattHours: number | null | undefined) => string
  voltage: (volts: number | null | undefined) => string
  current: (amperes: number | null | undefined) => string
  ratio: (value: number | null | undefined) => string
  signal: (dbm: number | null | undefined) => string
  count: (value: number | null | undefined) => string
  /** 812 B, 3.4 MiB */
  bytes: (value: number | null | undefined) => string
  /** 0.034 is 3 %; what is more than nothing is never 0 %. */
  percent: (ratio: number | null | undefined) => string
  /** Hours, minutes, seconds of a moment, local time. */
  clock: (moment: Moment) => string
  /** Date and time, local. */
  moment: (moment: Moment) => string
  day: (moment: Moment) => string
  /** "3 seconds ago" */
  ago: (moment: Moment, nowMs: number) => string
  /** 2 d 3 h */
  duration: (seconds: number | null | undefined) => string
}

/** Unix milliseconds or RFC 3339. */
export type Moment = number | string | null | undefined

const STEPS: readonly [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1],
]

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

export function formatFor(locale: string): Format {
  const fixed = [0, 1, 2].map((digits) =>
    new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }))
  const short = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 })
  const percent = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 })
  const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
  const moment = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium', hour12: false })
  const day = new Intl.DateTimeFormat(locale, { dateStyle: 'medium' })
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' })
  const parts: [unit: string, seconds: number][] = [['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]]

  const number = (value: number, digits: number) => fixed[digits]?.format(value) ?? String(value)
  const withUnit = (value: number | null | undefined, digits: number, unit: string) =>
    value === null || value === undefined ? MISSING : `${number(value, digits)} ${unit}`

  return {
    power: (watts) => scaled(watts, [[1_000_000, 2, 'MW'], [1_000, 2, 'kW']], watts !== 0 && Math.abs(watts ?? 0) < 10 ? 1 : 0, 'W'),
    powerTick: (watts) => {
      const [value, unit] = Math.abs(watts) >= 1_000 ? [watts / 1_000, 'kW'] : [watts, 'W']
      return `${short.format(value)} ${unit}`
    },
    energy: (wattHours) => scaled(wattHours, [[1_000_000, 2, 'MWh'], [100_000, 0, 'kWh'], [1_000, 2, 'kWh']], 0, 'Wh'),
    voltage: (volts) => withUnit(volts, 1, 'V'),
    current: (amperes) => withUnit(amperes, 2, 'A'),
    ratio: (value) => (value === null || value === undefined ? MISSING : number(value, 2)),
    signal: (dbm) => withUnit(dbm, 0, 'dBm'),
    count: (value) => (value === null || value === undefined ? MISSING : number(value, 0)),
    bytes(value) {
      if (value === null || value === undefined)
        return MISSING
      const power = value < 1_024 ? 0 : Math.min(BYTES.length - 1, Math.floor(Math.log2(value) / 10))
      const scaled = value / 1_024 ** power
      return `${number(scaled, power > 0 && scaled < 10 ? 1 : 0)} ${BYTES[power] ?? ''}`
    },
    percent(ratio) {
      if (ratio === null || ratio === undefined)
        return MISSING
      return ratio > 0 && ratio < 0.01 ? `< ${percent.format(0.01)}` : percent.format(ratio)
    },
    clock: (at) => format(at, clock),
    moment: (at) => format(at, moment),
    day: (at) => format(at, day),
    ago(at, nowMs) {
      const ms = toMs(at)
      if (ms === undefined)
        return MISSING
      const seconds = Math.round((ms - nowMs) / 1_000)
      const [unit, size] = STEPS.find(([, s]) => Math.abs(seconds) >= s) ?? ['second', 1]
      return relative.format(Math.min(0, Math.round(seconds / size)), unit)
    },
    duration(seconds) {
      if (seconds === null || seconds === undefined)
        return MISSING
      const first = parts.findIndex(([, size]) => seconds >= size)
      return parts
        .slice(first === -1 ? 3 : first)
        .slice(0, 2)
        .map(([unit, size], i, shown): [string, number] => {
          const above = shown[i - 1]?.[1]
          return [unit, Math.floor((above ? seconds % above : seconds) / size)]
        })
        .filter(([, count], i) => i === 0 || count > 0)
        .map(([unit, count]) => {
          return new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'narrow' }).format(count)
        })
        .join(' ')
    },
  }

  function scaled(value: number | null | undefined, scales: [size: number, digits: number, unit: string][],
    baseDigits: number, base: string): string {
    if (value === null || value === undefined || !Number.isFinite(value))
      return MISSING
    const scale = scales.find(([size]) => Math.abs(value) >= size)
    if (!scale)
      return withUnit(value, baseDigits, base)
    // A "100,000 Wh" step keeps the digits short without changing the unit.
    const divisor = scale[2].startsWith('k') ? 1_000 : 1_000_000
    return withUnit(value / divisor, scale[1], scale[2])
  }
}

/** Unix milliseconds of a moment. */
export function toMs(at: Moment): number | undefined {
  if (at === null || at === undefined)
    return undefined
  const ms = typeof at === 'number' ? at : Date.parse(at)
  return Number.isFinite(ms) ? ms : undefined
}

function format(at: Moment, as: Intl.DateTimeFormat): string {
  const ms = toMs(at)
  return ms === undefined ? MISSING : as.format(ms)
}
