import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ANSWER_MS, type LiveState, openLive, SILENCE_MS } from './live'

class FakeSocket {
  static readonly OPEN = 1
  static all: FakeSocket[] = []
  readyState = 0
  sent: string[] = []
  onopen?: () => void
  onmessage?: (message: { data: string }) => void
  onclose?: () => void

  constructor(readonly url: string) {
    FakeSocket.all.push(this)
  }

  send(text: string) {
    this.sent.push(text)
  }

  close() {
    this.readyState = 3
    this.onclose?.()
  }

  open() {
    this.readyState = 1
    this.onopen?.()
  }
}

const last = () => {
  const socket = FakeSocket.all.at(-1)
  if (!socket)
    throw new Error('no socket was opened')
  return socket
}

let states: LiveState[]
let messages: unknown[]
let refused: number

function start() {
  return openLive('ws://x/live', {
    message: (message) => messages.push(message),
    state: (state) => states.push(state),
    refused: () => { refused++ },
  })
}

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('WebSocket', FakeSocket)
  FakeSocket.all = []
  states = []
  messages = []
  refused = 0
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

test('subscribes when open, and anew after each reconnect', () => {
  const live = start()
  live.subscribe(['fleet'])
  expect(last().sent).toEqual([])
  last().open()
  expect(last().sent).toEqual(['{"type":"subscribe","topics":["fleet"]}'])

  last().close()
  vi.advanceTimersByTime(500)
  last().open()
  expect(FakeSocket.all).toHaveLength(2)
  expect(last().sent).toEqual(['{"type":"subscribe","topics":["fleet"]}'])
  expect(states).toEqual(['connecting', 'open', 'waiting', 'connecting', 'open'])
})

test('waits longer after each failure, and at once no longer when woken', () => {
  const live = start()
  for (const limit of [500, 1_000, 2_000, 4_000]) {
    last().close()
    const before = FakeSocket.all.length
    vi.advanceTimersByTime(limit / 2 - 1)
    expect(FakeSocket.all).toHaveLength(before)
    vi.advanceTimersByTime(limit / 2 + 1)
    expect(FakeSocket.all).toHaveLength(before + 1)
  }
  expect(refused).toBe(4)
  last().close()
  const before = FakeSocket.all.length
  live.wake()
  expect(FakeSocket.all).toHaveLength(before + 1)
})

test('a silent connection is asked, and replaced when it does not answer', () => {
  start().subscribe(['fleet'])
  last().open()
  vi.advanceTimersByTime(SILENCE_MS)
  expect(last().sent).toHaveLength(2)
  last().onmessage?.({ data: '{"type":"snapshot"}' })
  vi.advanceTimersByTime(ANSWER_MS)
  expect(FakeSocket.all).toHaveLength(1)

  vi.advanceTimersByTime(SILENCE_MS + ANSWER_MS + 1_000)
  expect(FakeSocket.all.length).toBeGreaterThan(1)
  expect(messages).toEqual([{ type: 'snapshot' }])
})

test('stays closed when closed', () => {
  const live = start()
  last().open()
  live.close()
  vi.advanceTimersByTime(60_000)
  expect(FakeSocket.all).toHaveLength(1)
  expect(states.at(-1)).toBe('closed')
})
