// Answers for the built page without a server: files from dist, JSON from
// fleet.ts, and a WebSocket that a test can push messages through.

import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page, Route, WebSocketRoute } from '@playwright/test'
import * as world from './fleet'
import { health, nodes } from './system'

export const ORIGIN = 'http://dormouse.test'
const DIST = new URL('../../dist/', import.meta.url)

export interface Fake {
  signedIn: boolean
  /** Requests that changed something: "POST /api/v1/…". */
  readonly changes: { call: string, body: unknown, headers: Record<string, string> }[]
  /** Answers of a test's own, by "METHOD path". */
  readonly answers: Map<string, (route: Route) => Promise<void>>
  devices: object[]
  push: (message: object) => void
  /** Breaks the live connection; `refuse` keeps it broken. */
  drop: (refuse: boolean) => Promise<void>
}

export async function fakeServer(page: Page, signedIn = true): Promise<Fake> {
  const sockets = new Set<WebSocketRoute>()
  let refuse = false
  const fake: Fake = {
    signedIn,
    changes: [],
    answers: new Map(),
    devices: world.devices,
    push(message) {
      for (const socket of sockets)
        socket.send(JSON.stringify(message))
    },
    async drop(stay) {
      refuse = stay
      await Promise.all([...sockets].map((socket) => socket.close({ code: 1001 })))
      sockets.clear()
    },
  }
  await page.routeWebSocket(/\/api\/v1\/live$/, (socket) => {
    if (refuse) {
      void socket.close({ code: 1013 })
      return
    }
    sockets.add(socket)
    socket.onMessage(() => {
      socket.send(JSON.stringify({
        type: 'snapshot',
        topics: [],
        now: new Date(world.NOW).toISOString(),
        version: '0.1.0',
        fleet: { ...world.fleet(), devices: fake.devices.length },
        devices: fake.devices,
        events: world.events,
      }))
    })
  })
  await page.route(`${ORIGIN}/**`, (route) => answer(route, fake))
  return fake
}

async function answer(route: Route, fake: Fake): Promise<void> {
  const request = route.request()
  const url = new URL(request.url())
  if (url.pathname !== '/health' && !url.pathname.startsWith('/api/'))
    return file(route, url.pathname)
  const call = `${request.method()} ${url.pathname}`
  if (request.method() !== 'GET')
    fake.changes.push({ call, body: request.postDataJSON(), headers: request.headers() })
  const own = fake.answers.get(call)
  if (own)
    return own(route)
  const [, device, rest = ''] = /^\/api\/v1\/devices\/([^/]+)(\/.*)?$/.exec(url.pathname) ?? []
  if (device !== undefined)
    return deviceAnswer(route, url, fake, decodeURIComponent(device), rest)
  switch (call) {
    case 'GET /api/v1/session':
      return fake.signedIn ? json(route, SESSION) : problem(route, 401, 'unauthenticated', 'sign in first')
    case 'POST /api/v1/session':
    case 'POST /api/v1/setup':
      fake.signedIn = true
      return json(route, SESSION)
    case 'DELETE /api/v1/session':
      fake.signedIn = false
      return route.fulfill({ status: 204 })
    case 'GET /api/v1/devices':
      return json(route, { items: list(fake, url.searchParams), nextCursor: null })
    case 'GET /api/v1/setup':
      return json(route, { needed: !fake.signedIn })
    case 'GET /api/v1/stats/fleet/power':
      return json(route, { items: world.fleetPower(Number(url.searchParams.get('minutes'))) })
    case 'GET /api/v1/enrolment':
      return json(route, { mode: 'approve', joinKey: 'k7Qm-2xWd-fake-key', pending: 2 })
    case 'GET /health': {
      const { status, body } = health()
      return json(route, body, status)
    }
    case 'GET /api/v1/nodes':
      return json(route, nodes())
    case 'GET /api/v1/stats/today':
      return json(route, { energyWh: 31_240 })
    case 'GET /api/v1/events':
      return json(route, { items: world.events, nextCursor: null })
    default:
      return problem(route, 404, 'not-found', `there is nothing at ${url.pathname}`)
  }
}

export const SESSION = { username: 'admin', role: 'admin', scope: '', csrfToken: 'csrf-of-the-fake' }

function list(fake: Fake, query: URLSearchParams): object[] {
  if (query.get('state') === 'pending')
    return world.devices.slice(0, 2).map((one, i) => ({
      ...one,
      deviceId: `new-strip-${String(i + 1)}`, state: 'pending',
      inbox: { address: `10.3.2.${String(40 + i)}`, firstChannel: 'status', firstPayload: '{"online":true}', firstAt: null },
    }))
  return (fake.devices as typeof world.devices).filter((one) =>
    (!query.has('presence') || one.presence.state === query.get('presence'))
    && (!query.has('q') || one.deviceId.toLowerCase().includes((query.get('q') ?? '').toLowerCase())))
}

function deviceAnswer(route: Route, url: URL, fake: Fake, id: string, rest: string): Promise<void> {
  const found = (fake.devices as typeof world.devices).find((one) => one.deviceId === id)
  if (!found)
    return problem(route, 404, 'device-not-found', `there is no device ${id}`)
  const query = url.searchParams
  switch (`${route.request().method()} ${rest}`) {
    case 'GET ':
      return json(route, found)
    case 'GET /telemetry':
      return json(route, { items: world.ring(id, Number(query.get('minutes'))), thinnedBefore: null })
    case 'GET /commands':
      return json(route, { items: world.commands(id), nextCursor: null })
    case 'GET /history':
      return json(route, {
        resolution: 'minute',
        points: world.history(id, Date.parse(query.get('from') ?? ''), Date.parse(query.get('to') ?? '')),
      })
    default:
      return problem(route, 404, 'not-found', `there is nothing at ${url.pathname}`)
  }
}

export function json(route: Route, body: unknown, status = 200): Promise<void> {
  return route.fulfill({ status, contentType: 'application/json', body: JSON.stringify(body) })
}

export function problem(route: Route, status: number, type: string, detail: string, more: object = {}): Promise<void> {
  const body = { type: `/problems/${type}`, title: type, status, detail, ...more }
  return route.fulfill({ status, contentType: 'application/problem+json', body: JSON.stringify(body) })
}

/** As strict as the server's. */
const POLICY = 'default-src \'self\'; style-src \'self\' \'unsafe-inline\'; img-src \'self\' data: blob:; '
  + 'object-src \'none\'; base-uri \'self\'; form-action \'self\'; frame-ancestors \'none\''

const KINDS: Readonly<Record<string, string>> = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }

async function file(route: Route, path: string): Promise<void> {
  const asset = /\.(js|css|svg)$/.exec(path)
  const name = asset ? `.${path}` : './index.html'
  await route.fulfill({
    headers: { 'content-security-policy': POLICY },
    contentType: KINDS[asset?.[1] ?? ''] ?? 'text/html',
    body: await readFile(fileURLToPath(new URL(name, DIST))),
  })
}
