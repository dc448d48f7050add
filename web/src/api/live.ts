// One socket to the server, kept open: backs off with jitter, comes back at
// once when the page becomes visible, and asks for its topics anew each time.

/** Where the connection stands. */
export type LiveState = 'connecting' | 'open' | 'waiting' | 'closed'

export interface LiveHandlers {
  message: (message: unknown) => void
  state: (state: LiveState) => void
  /** The server refused or dropped us before the socket opened: perhaps the session ended. */
  refused: () => void
}

export interface LiveConnection {
  /** Replaces the topics; the server answers with a snapshot. */
  subscribe: (topics: readonly string[]) => void
  /** Tries at once instead of waiting for the back-off to end. */
  wake: () => void
  close: () => void
}

const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 15_000
/** With nothing heard for so long we ask for a snapshot … */
export const SILENCE_MS = 20_000
/** … and without an answer to that the connection counts as dead. */
export const ANSWER_MS = 5_000

/** Connects and reconnects until closed. */
export function openLive(url: string, handlers: LiveHandlers): LiveConnection {
  let socket: WebSocket | undefined
  let retry: ReturnType<typeof setTimeout> | undefined
  let silence: ReturnType<typeof setTimeout> | undefined
  let retryMs = FIRST_RETRY_MS
  let topics: readonly string[] = []
  let closed = false

  function heard() {
    clearTimeout(silence)
    silence = setTimeout(() => {
      send()
      silence = setTimeout(() => {
        drop()
        later()
      }, ANSWER_MS)
    }, SILENCE_MS)
  }

  function drop() {
    clearTimeout(silence)
    const old = socket
    socket = undefined
    old?.close()
  }

  function send() {
    if (socket?.readyState === WebSocket.OPEN)
      socket.send(JSON.stringify({ type: 'subscribe', topics }))
  }

  function connect() {
    clearTimeout(retry)
    handlers.state('connecting')
    const current = new WebSocket(url)
    let opened = false
    socket = current
    current.onopen = () => {
      opened = true
      retryMs = FIRST_RETRY_MS
      handlers.state('open')
      heard()
      send()
    }
    current.onmessage = (message: MessageEvent<string>) => {
      if (socket !== current)
        return
      heard()
      handlers.message(JSON.parse(message.data))
    }
    current.onclose = () => {
      if (socket !== current)
        return
      drop()
      if (!opened)
        handlers.refused()
      later()
    }
  }

  function later() {
    if (closed)
      return
    handlers.state('waiting')
    retry = setTimeout(connect, retryMs * (0.5 + Math.random() / 2))
    retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)
  }

  connect()
  return {
    subscribe(next) {
      topics = next
      send()
    },
    wake() {
      if (!closed && !socket)
        connect()
    },
    close() {
      closed = true
      clearTimeout(retry)
      drop()
      handlers.state('closed')
    },
  }
}
