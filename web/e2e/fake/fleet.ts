// A small building in plain data: 24 strips, some of them in trouble.

/** The moment at which the fake world stands, unix ms. */
export const NOW = Date.UTC(2026, 10, 20, 11, 30)

const iso = (ms: number) => new Date(ms).toISOString()
const ago = (seconds: number) => iso(NOW - seconds * 1_000)

/** A repeatable "random" number in [0, 1). */
export function noise(seed: number): number {
  const x = Math.sin(seed * 12.9898) * 43_758.5453
  return x - Math.floor(x)
}

const NAMES = ['Desk by the window', '', 'Kitchenette', '', 'Reading room', '']

export function powerAt(index: number, ts: number): number {
  const base = 20 + 160 * noise(index)
  const kettle = noise(index * 7 + Math.floor(ts / 240_000)) > 0.93 ? 1_650 : 0
  const wave = 12 * Math.sin(ts / 30_000 + index) + 6 * noise(ts / 1_000 + index)
  return Math.max(0, Math.round((base + kettle + wave) * 10) / 10)
}

function device(index: number) {
  const floor = 3 + Math.floor(index / 12)
  const room = floor * 100 + 1 + Math.floor((index % 12) / 2)
  const deviceId = `A-${String(room)}-strip${String(1 + (index % 2)).padStart(2, '0')}`
  const state = index === 5 || index === 17 ? 'offline' : index === 22 ? 'never' : 'online'
  const powerW = state === 'online' ? powerAt(index, NOW) : 0
  return {
    deviceId,
    name: NAMES[index % NAMES.length] ?? '',
    location: `A/${String(floor)}/${String(room)}`,
    state: 'active',
    version: 1,
    createdAt: ago(40 * 86_400),
    periodS: 5,
    presence: state === 'never'
      ? { state, since: null, reason: null, lastSeen: null }
      : state === 'offline'
        ? { state, since: ago(190 + index * 60), reason: 'silence', lastSeen: ago(205 + index * 60) }
        : { state, since: ago(3_600 * (1 + index)), reason: 'heard', lastSeen: ago(2) },
    reported: state === 'never'
      ? null
      : {
          firmware: '1.4.0',
          ip: `10.3.2.${String(10 + index)}`,
          mac: `a0:b1:c2:00:00:${String(10 + index)}`,
          rssiDbm: -52 - index,
          uptimeS: 93_600,
        },
    sockets: state === 'never'
      ? []
      : [1, 2, 3, 4].map((socketId) => ({
          socketId,
          on: noise(index * 4 + socketId) > 0.35,
          changedAt: ago(600 * socketId),
          origin: socketId === 2 ? { kind: 'device' } : { kind: 'user', name: 'admin' },
        })),
    latest: state === 'never' ? null : sample(powerW, NOW - 2_000),
    energyTodayWh: 320 + 90 * index,
  }
}

export function sample(powerW: number, ts: number) {
  return {
    ts,
    powerW,
    voltageV: 229.6,
    currentA: Math.round(powerW / 229.6 * 1_000) / 1_000,
    energyWh: 128_345.6,
    powerFactor: 0.94,
    sockets: [
      { socketId: 1, powerW: Math.round(powerW * 7) / 10 },
      { socketId: 2, powerW: Math.round(powerW * 3) / 10 },
    ],
  }
}

export const devices = Array.from({ length: 24 }, (_, index) => device(index))

export function fleet() {
  const count = (state: string) => devices.filter((one) => one.presence.state === state).length
  return {
    devices: devices.length,
    online: count('online'),
    offline: count('offline'),
    never: count('never'),
    powerW: devices.reduce((sum, one) => sum + (one.latest?.powerW ?? 0), 0),
  }
}

export function fleetPower(minutes: number) {
  const items = []
  for (let ts = NOW - minutes * 60_000; ts <= NOW; ts += 5_000) {
    const watts = devices.map((one, i) => (one.presence.state === 'online' ? powerAt(i, ts) : 0))
    items.push({ ts, powerW: watts.reduce((sum, one) => sum + one, 0) })
  }
  return items
}

export const events = [
  ['DEVICE_OFFLINE', 'warning', 5, 490, undefined],
  ['device.overload', 'critical', 8, 830, 2],
  ['DEVICE_ONLINE', 'info', 3, 1_260, undefined],
  ['DEVICE_OFFLINE', 'warning', 3, 1_330, undefined],
  ['device.button', 'info', 11, 2_000, 1],
  ['credentials-changed', 'info', 2, 5_400, undefined],
].map(([type, severity, index, seconds, socketId], i) => ({
  id: `e${String(i)}`,
  type: String(type),
  severity: String(severity),
  deviceId: devices[Number(index)]?.deviceId,
  socketId,
  ts: ago(Number(seconds)),
  receivedAt: ago(Number(seconds)),
  origin: { kind: 'server' },
  data: {},
}))

const OUTCOMES = [
  ['success', 'acked', null], ['failed', 'acked', 'overload'], ['timeout', null, null],
  ['success', 'inferred', null], ['cancelled', null, null], ['success', 'acked', null],
] as const

/** An id that a command made at that moment would have (UUIDv7). */
export function idAt(ms: number): string {
  return `${ms.toString(16).padStart(12, '0').replace(/^(.{8})/, '$1-')}-7000-8000-000000000000`
}

export function commands(deviceId: string) {
  return OUTCOMES.map(([state, evidence, reason], i) => ({
    cmdId: idAt(NOW - 1_000 * (120 + 700 * i)),
    deviceId,
    socketId: i === 5 ? 0 : 1 + (i % 4),
    action: i % 2 === 0 ? 'on' : 'off',
    state,
    origin: i === 3 ? { kind: 'token', name: 'night-watch' } : { kind: 'user', name: 'admin' },
    createdAt: ago(120 + 700 * i),
    deadlineAt: ago(114 + 700 * i),
    settledAt: ago(119 + 700 * i),
    evidence,
    reason,
    lateOutcome: state === 'timeout' ? 'success' : null,
    lateAt: null,
  }))
}

export function ring(deviceId: string, minutes: number) {
  const index = devices.findIndex((one) => one.deviceId === deviceId)
  const items = []
  for (let ts = NOW - minutes * 60_000; ts <= NOW; ts += 5_000) {
    const gone = ts > NOW - 14 * 60_000 && ts < NOW - 12 * 60_000
    if (!gone)
      items.push(sample(powerAt(index, ts), ts))
  }
  return items
}

export function history(deviceId: string, from: number, to: number) {
  const index = devices.findIndex((one) => one.deviceId === deviceId)
  const step = (to - from) / 120
  const points = []
  for (let ts = from; ts < to; ts += step) {
    if (ts > from + step * 70 && ts < from + step * 78)
      continue
    const hour = new Date(ts).getUTCHours()
    const day = 0.25 + Math.max(0, Math.sin((hour - 6) / 24 * 2 * Math.PI))
    const powerW = powerAt(index, ts) * day
    const energyWh = powerW * step / 3_600_000
    points.push({ ts, powerW, minPowerW: powerW * 0.6, maxPowerW: powerW * 1.5 + 30, energyWh })
  }
  return points
}
