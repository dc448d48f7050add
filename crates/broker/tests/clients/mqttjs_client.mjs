// Exercises a broker with MQTT.js, MQTT 5: mqttjs_client.mjs PORT MODULES
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const [port, modules] = process.argv.slice(2)
const mqtt = createRequire(`${modules}/`)('mqtt')
const url = `mqtt://127.0.0.1:${port}`

/** A client with its messages in a queue. */
async function peer(clientId, options = {}) {
  const client = await mqtt.connectAsync(url, {
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...options,
  })
  const messages = []
  const waiting = []
  client.on('message', (topic, payload, packet) => {
    const message = { topic, text: payload.toString(), packet }
    const next = waiting.shift()
    if (next) next(message)
    else messages.push(message)
  })
  const message = () =>
    new Promise((resolve, reject) => {
      const first = messages.shift()
      if (first) return resolve(first)
      const timer = setTimeout(() => reject(new Error(`${clientId}: no message`)), 10_000)
      waiting.push((found) => {
        clearTimeout(timer)
        resolve(found)
      })
    })
  return { client, message, pending: () => messages.length }
}

const checks = {
  async everyQos() {
    const [alice, bob] = [await peer('alice'), await peer('bob')]
    for (const qos of [0, 1, 2]) {
      await alice.client.subscribeAsync(`js/${qos}`, { qos })
      await bob.client.publishAsync(`js/${qos}`, `${qos}`, { qos })
      const { text, packet } = await alice.message()
      assert.deepEqual([text, packet.qos], [`${qos}`, qos])
    }
    await alice.client.endAsync()
    await bob.client.endAsync()
  },

  async properties() {
    const alice = await peer('alice')
    await alice.client.subscribeAsync('js/props', { qos: 1, properties: { subscriptionIdentifier: 77 } })
    const properties = {
      contentType: 'application/json',
      responseTopic: 'js/answer',
      correlationData: Buffer.from([1, 2, 3]),
      messageExpiryInterval: 60,
      payloadFormatIndicator: true,
      userProperties: { room: ['302', '303'] },
    }
    await alice.client.publishAsync('js/props', '{}', { qos: 1, properties })
    const got = (await alice.message()).packet.properties
    assert.equal(got.subscriptionIdentifier, 77)
    assert.equal(got.contentType, 'application/json')
    assert.equal(got.responseTopic, 'js/answer')
    assert.deepEqual([...got.correlationData], [1, 2, 3])
    assert.deepEqual([...got.userProperties.room], ['302', '303'])
    await alice.client.endAsync()
  },

  async topicAliasesBothWays() {
    const alice = await peer('alice', { properties: { topicAliasMaximum: 5 } })
    const bob = await peer('bob', { autoUseTopicAlias: true, autoAssignTopicAlias: true })
    await alice.client.subscribeAsync('js/alias/#')
    for (let number = 0; number < 50; number++) {
      await bob.client.publishAsync(`js/alias/${number % 20}`, `${number}`)
    }
    for (let number = 0; number < 50; number++) {
      const { topic, text } = await alice.message()
      assert.deepEqual([topic, text], [`js/alias/${number % 20}`, `${number}`])
    }
    await alice.client.endAsync()
    await bob.client.endAsync()
  },

  async sessionAndRetained() {
    const options = { clean: false, properties: { sessionExpiryInterval: 100 } }
    let alice = await peer('sleeper', options)
    await alice.client.subscribeAsync('js/session', { qos: 2 })
    await alice.client.endAsync()
    const bob = await peer('bob')
    await bob.client.publishAsync('js/session', 'while away', { qos: 2 })
    await bob.client.publishAsync('js/kept', 'kept', { qos: 1, retain: true })
    alice = await peer('sleeper', options)
    assert.equal((await alice.message()).text, 'while away')
    await alice.client.subscribeAsync('js/+', { qos: 1, rh: 0 })
    const { text, packet } = await alice.message()
    assert.deepEqual([text, packet.retain], ['kept', true])
    await alice.client.endAsync()
    await bob.client.endAsync()
  },

  async will() {
    const watcher = await peer('watcher')
    await watcher.client.subscribeAsync('js/will', { qos: 1 })
    const will = { topic: 'js/will', payload: 'gone', qos: 1, properties: { willDelayInterval: 0 } }
    const dying = await peer('dying', { will })
    dying.client.stream.destroy()
    assert.equal((await watcher.message()).text, 'gone')
    await watcher.client.endAsync()
    dying.client.end(true)
  },

  async sharedSubscriptions() {
    const members = [await peer('one'), await peer('two')]
    for (const { client } of members) await client.subscribeAsync('$share/group/js/shared', { qos: 1 })
    for (let number = 0; number < 10; number++) {
      await members[0].client.publishAsync('js/shared', `${number}`, { qos: 1 })
    }
    const seen = []
    for (const { message } of members) {
      for (let number = 0; number < 5; number++) seen.push(Number((await message()).text))
    }
    assert.deepEqual(seen.sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    for (const { client } of members) await client.endAsync()
  },

  async takeover() {
    const first = await peer('same')
    const gone = new Promise((resolve) => first.client.on('disconnect', resolve))
    const second = await peer('same')
    assert.equal((await gone).reasonCode, 0x8e)
    await second.client.publishAsync('js/x', 'x', { qos: 1 })
    await second.client.endAsync()
    first.client.end(true)
  },
}

for (const [name, check] of Object.entries(checks)) {
  await check()
  console.log('ok', name)
}
process.exit(0)
