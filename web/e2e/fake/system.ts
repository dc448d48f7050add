// How a site of two nodes is; tests break parts of it.

import { NOW } from './fleet'

const iso = (ms: number) => new Date(ms).toISOString()
const ago = (seconds: number) => iso(NOW - seconds * 1_000)

interface Trouble {
  /** Parts that are down, with what the server says of them. */
  down?: Record<string, string>
  intake?: object
}

/** What `/health` answers, and with which status. */
export function health({ down = {}, intake = {} }: Trouble = {}) {
  const part = (name: string, engine: string, needed = true, more: object = {}) => [name, {
    engine,
    needed,
    state: name in down ? 'down' : 'ok',
    since: ago(name in down ? 95 : 86_400 * 3),
    ...(name in down ? { detail: down[name] } : {}),
    ...more,
  }] as const
  const parts = Object.fromEntries([
    part('mqtt', 'mqtt'),
    part('redis', 'redis'),
    part('db', 'timescaledb'),
    part('journal', 'file'),
    part('clock', 'system'),
    part('emqx', 'emqx', false),
    part('maintenance', 'postgresql', false, {
      ...('maintenance' in down ? {} : { detail: `maintained ${ago(1_440)}` }), lastSuccess: ago(1_440), next: ago(-2_160),
    }),
  ])
  const needed = Object.values(parts).some((one) => one.needed && one.state === 'down')
  return {
    status: needed ? 503 : 200,
    body: {
      mqtt: 'mqtt' in down ? 'disconnected' : 'connected',
      redis: 'redis' in down ? 'down' : 'ok',
      db: 'db' in down ? 'down' : 'ok',
      parts,
      intake: {
        way: 'direct', waiting: 14, aside: 0, journalUsedBytes: 0, journalCapacityBytes: 67_108_864, journalFull: false, ...intake,
      },
      instance: 'x7Qm2W',
    },
  }
}

const NODES = [
  { node: 'dormouse-1-x7Qm2W', address: '10.3.0.11:8080', leases: ['presence', 'retained', 'slot/0', 'upkeep'] },
  { node: 'dormouse-2-k3Pd9a', address: '10.3.0.12:8080', leases: ['slot/1'] },
  { node: 'dormouse-3-b8Zt4e', address: '10.3.0.13:8080', leases: ['slot/2'] },
] as const

/** Who is there; the node with `lost` in its name died a minute ago. */
export function nodes(lost?: string, down: Record<string, string[]> = {}) {
  const all = NODES.map((one) => ({
    ...one,
    version: '0.1.0',
    since: ago(86_400 * 3),
    down: Object.entries(down).find(([name]) => one.node.startsWith(name))?.[1] ?? [],
    seenAgoMs: 640,
  }))
  const isLost = (one: { node: string }) => lost !== undefined && one.node.startsWith(lost)
  return {
    items: all.filter((one) => !isLost(one)),
    nextCursor: null,
    lost: all.filter(isLost).map((one) => ({ ...one, leases: [], seenAgoMs: 72_000 })),
    answeredBy: NODES[0].node,
  }
}
