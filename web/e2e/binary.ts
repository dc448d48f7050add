// Starts the real binary on free ports with a data folder of its own.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const BINARY = process.env['DORMOUSE_BIN'] ?? fileURLToPath(new URL('../../target/debug/dormouse', import.meta.url))
const START_MS = 30_000

export interface Running {
  /** Where the page is. */
  readonly url: string
  /** The one-time link for the first administrator. */
  readonly link: string
  stop: () => Promise<void>
}

/** Runs `dormouse demo` until it is ready and has told the one-time link. */
export async function startDemo(): Promise<Running> {
  const data = await mkdtemp(join(tmpdir(), 'dormouse-e2e-'))
  const args = ['demo', '--data', data, '--http', '127.0.0.1:0', '--mqtt', '127.0.0.1:0', '--ready-json']
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const log: string[] = []

  async function stop() {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    await rm(data, { recursive: true, force: true })
  }

  try {
    const [ready, link] = await Promise.all([
      find(child, child.stdout, log, (line) => /^\{.*"http".*\}$/.exec(line)?.[0]),
      find(child, child.stderr, log, (line) => /https?:\/\/\S+\/setup\?token=[\w-]+/.exec(line)?.[0]),
    ])
    const { http } = JSON.parse(ready) as { http: string }
    return { url: http.startsWith('http') ? http : `http://${http}`, link, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The first line in which `pick` finds something; keeps reading so that the pipe never fills. */
async function find(
  child: ChildProcess,
  stream: NodeJS.ReadableStream,
  log: string[],
  pick: (line: string) => string | undefined,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      reject(new Error(`${BINARY}: ${why}\n${log.slice(-30).join('\n')}`))
    }
    const deadline = setTimeout(() => {
      fail('was not ready in time')
    }, START_MS)
    child.once('error', (error) => {
      fail(error.message)
    })
    child.once('exit', (code) => {
      fail(`ended with ${String(code)}`)
    })
    createInterface({ input: stream }).on('line', (line) => {
      log.push(line)
      const found = pick(line)
      if (found !== undefined) {
        clearTimeout(deadline)
        resolve(found)
      }
    })
  })
}
