// The only subscriber of the live connection: buffers what arrives, paints at
// most four times a second, and keeps the topics that open pages want.

import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import { BASE } from '@/api/client'
import { type LiveConnection, type LiveState, openLive } from '@/api/live'
import type { CommandNews, LiveMessage } from '@/api/types'
import { type Live, NOTHING, type Received } from '@/domain/live'
import { backfill, type Known, reduce, watchCurves } from '@/domain/reduce'

/** Samples arrive faster than anyone reads. */
export const PAINT_MS = 250

export const useLive = defineStore('live', () => {
  const live = shallowRef<Live>(NOTHING)
  const state = ref<LiveState>('closed')
  /** Set when the server is another version than the one that served this page. */
  const upgraded = ref(false)
  const devices = computed(() => Object.values(live.value.devices))

  const wanted = new Map<string, number>()
  let buffer: Received[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  let connection: LiveConnection | undefined
  let resubscribing = false

  function paint() {
    clearTimeout(timer)
    timer = undefined
    const before = live.value.version
    live.value = reduce(live.value, buffer)
    buffer = []
    if (before !== undefined && live.value.version !== before)
      upgraded.value = true
  }

  function receive(message: LiveMessage) {
    buffer.push({ at: Date.now(), message })
    timer ??= setTimeout(paint, PAINT_MS)
  }

  /** Opens the connection; `refused` hears of every attempt that the server turned down. */
  function connect(refused: () => void) {
    if (connection)
      return
    const url = new URL('api/v1/live', BASE)
    url.protocol = url.protocol.replace('http', 'ws')
    connection = openLive(url.href, {
      message: (message) => {
        receive(message as LiveMessage)
      },
      state: (next) => {
        state.value = next
      },
      refused,
    })
    connection.subscribe([...wanted.keys()])
    document.addEventListener('visibilitychange', wakeWhenVisible)
    window.addEventListener('online', wake)
  }

  function disconnect() {
    document.removeEventListener('visibilitychange', wakeWhenVisible)
    window.removeEventListener('online', wake)
    connection?.close()
    connection = undefined
    clearTimeout(timer)
    timer = undefined
    buffer = []
    live.value = watchCurves(NOTHING, live.value.watched)
  }

  function wake() {
    connection?.wake()
  }

  function wakeWhenVisible() {
    if (document.visibilityState === 'visible')
      wake()
  }

  /** Wants topics until the returned function is called. */
  function want(topics: readonly string[]): () => void {
    for (const topic of topics)
      wanted.set(topic, (wanted.get(topic) ?? 0) + 1)
    resubscribe()
    return () => {
      for (const topic of topics) {
        const left = (wanted.get(topic) ?? 1) - 1
        if (left > 0)
          wanted.set(topic, left)
        else
          wanted.delete(topic)
      }
      resubscribe()
    }
  }

  /** Leaving one page and entering the next is one change of topics. */
  function resubscribe() {
    if (resubscribing)
      return
    resubscribing = true
    queueMicrotask(() => {
      resubscribing = false
      const topics = [...wanted.keys()]
      live.value = watchCurves(live.value, topics.flatMap((topic) => topic.split('device:').slice(1)))
      connection?.subscribe(topics)
    })
  }

  /** A command that we have just sent is shown before the server's own message about it. */
  function sent(command: CommandNews) {
    receive({ type: 'command', ...command })
    paint()
  }

  /** Adds what was asked for over REST, without overwriting anything newer. */
  function remember(known: Known) {
    live.value = backfill(live.value, known)
  }

  return { live, state, upgraded, devices, connect, disconnect, wake, want, receive, paint, sent, remember }
})
