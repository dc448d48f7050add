// The built page in a browser, against the fake server.

import { expect, type Page, test } from '@playwright/test'
import { devices, idAt, NOW, sample } from './fake/fleet'
import { type Fake, fakeServer, json, ORIGIN, problem } from './fake/server'
import { health } from './fake/system'

const STRIP = devices[8]?.deviceId ?? ''
const OFFLINE = devices[5]?.deviceId ?? ''

async function open(page: Page, path: string, signedIn = true): Promise<Fake> {
  await page.clock.install({ time: NOW })
  const fake = await fakeServer(page, signedIn)
  await page.goto(ORIGIN + path)
  return fake
}

const socket = (page: Page, n: number) => page.getByRole('article', { name: `Socket ${String(n)}` })
const command = (state: string, more: object = {}) => ({
  cmdId: idAt(NOW), deviceId: STRIP, socketId: 2, action: 'on', state, origin: { kind: 'user', name: 'admin' },
  createdAt: new Date(NOW).toISOString(), deadlineAt: new Date(NOW + 6_000).toISOString(),
  ...(state === 'pending' ? {} : { settledAt: new Date(NOW + 1_000).toISOString() }), ...more,
})
const POST = `POST /api/v1/devices/${STRIP}/sockets/2/commands`

test('nobody signed in sees the sign-in page, and comes back to where they wanted to go', async ({ page }) => {
  const fake = await open(page, '/events', false)
  await page.getByLabel('User name').fill('admin')
  await page.getByLabel('Password').fill('a long password')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Events' })).toBeVisible()
  expect(fake.changes[0]?.body).toEqual({ username: 'admin', password: 'a long password' })
})

test('a wrong password is said plainly', async ({ page }) => {
  const fake = await open(page, '/sign-in', false)
  fake.answers.set('POST /api/v1/session', (route) => problem(route, 401, 'bad-credentials', 'no'))
  await page.getByLabel('User name').fill('admin')
  await page.getByLabel('Password').fill('wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('alert')).toHaveText('User name or password is wrong.')
})

test('the one-time link makes the administrator', async ({ page }) => {
  const fake = await open(page, '/setup?token=once', false)
  await page.getByLabel('Password', { exact: true }).fill('a long password')
  await page.getByLabel('Password again').fill('another password')
  await page.getByRole('button', { name: 'Create and sign in' }).click()
  await expect(page.getByText('The two passwords differ.')).toBeVisible()
  await page.getByLabel('Password again').fill('a long password')
  await page.getByRole('button', { name: 'Create and sign in' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Dashboard' })).toBeVisible()
  expect(fake.changes[0]?.body).toMatchObject({ token: 'once', username: 'admin', password: 'a long password' })
})

test('a session that ends leads to the sign-in page', async ({ page }) => {
  const fake = await open(page, '/')
  await expect(page.getByText('of 24')).toBeVisible()
  fake.answers.set('GET /api/v1/devices', (route) => problem(route, 401, 'unauthorized', 'sign in'))
  await page.getByRole('link', { name: 'Devices' }).click()
  await expect(page.getByText('Your session has ended.')).toBeVisible()
})

test('the dashboard follows the fleet', async ({ page }) => {
  const fake = await open(page, '/')
  await expect(page.getByText('of 24')).toBeVisible()
  await expect(page.getByRole('region', { name: 'Offline now' }).getByRole('link')).toHaveCount(2)
  fake.push({ type: 'fleet', devices: 24, online: 19, offline: 4, never: 1, powerW: 1_234 })
  await page.clock.runFor(300)
  await expect(page.getByText('1.23 kW')).toBeVisible()
  await expect(page.getByRole('img', { name: 'Power of all strips' })).toBeVisible()
})

test('an empty site says what to do next', async ({ page }) => {
  await page.clock.install({ time: NOW })
  const fake = await fakeServer(page)
  fake.devices = []
  await page.goto(`${ORIGIN}/devices`)
  await expect(page.getByText('No devices yet')).toBeVisible()
  await expect(page.getByText('dormouse demo')).toBeVisible()
})

test('a lost connection is shown until it is back', async ({ page }) => {
  const fake = await open(page, '/')
  await expect(page.getByText('of 24')).toBeVisible()
  await fake.drop(true)
  await expect(page.getByText('Live connection lost.')).toBeVisible()
  await fake.drop(false)
  await page.getByRole('button', { name: 'Try now' }).click()
  await expect(page.getByText('Live connection lost.')).toBeHidden()
})

test('a switch shows its command from pending to the verdict', async ({ page }) => {
  const fake = await open(page, `/devices/${STRIP}`)
  fake.answers.set(POST, (route) => json(route, command('pending'), 202))
  await socket(page, 2).getByRole('switch').click()
  await expect(socket(page, 2)).toContainText('Waiting for the strip')
  await expect(socket(page, 2).getByRole('switch')).toHaveAttribute('aria-checked', 'true')
  expect(fake.changes[0]?.body).toEqual({ action: 'on', onPending: 'refuse' })
  expect(fake.changes[0]?.headers['x-csrf-token']).toBe('csrf-of-the-fake')

  fake.push({ type: 'command', ...command('failed', { reason: 'relay stuck' }) })
  await page.clock.runFor(300)
  await expect(socket(page, 2)).toContainText('Failed: relay stuck')
  await expect(socket(page, 2).getByRole('switch')).toHaveAttribute('aria-checked', 'false')
  await expect(page.getByRole('table').getByRole('row').nth(1)).toContainText('Failed: relay stuck')
})

test('a verdict that overtakes the answer to the request stays', async ({ page }) => {
  const fake = await open(page, `/devices/${STRIP}`)
  fake.answers.set(POST, async (route) => {
    fake.push({ type: 'command', ...command('success', { evidence: 'acked' }) })
    await json(route, command('pending'), 202)
  })
  await socket(page, 2).getByRole('switch').click()
  await page.clock.runFor(300)
  await expect(socket(page, 2)).toContainText('Done')
})

test('somebody else\'s pending command can be replaced', async ({ page }) => {
  const fake = await open(page, `/devices/${STRIP}`)
  fake.answers.set(POST, (route) =>
    (fake.changes.length === 1
      ? problem(route, 409, 'command-pending', 'pending', { pending: command('pending', { cmdId: idAt(NOW - 5_000) }) })
      : json(route, command('pending'), 202)))
  await socket(page, 2).getByRole('switch').click()
  await page.getByRole('button', { name: 'Replace it' }).click()
  await expect(socket(page, 2)).toContainText('Waiting for the strip')
  expect(fake.changes[1]?.body).toEqual({ action: 'on', onPending: 'replace' })
})

test('too many requests say when to try again', async ({ page }) => {
  const fake = await open(page, `/devices/${STRIP}`)
  fake.answers.set(POST, (route) => route.fulfill({ status: 429, headers: { 'retry-after': '3' }, body: '{}' }))
  await socket(page, 2).getByRole('switch').click()
  await expect(page.getByText('Try again in 3 s.')).toBeVisible()
})

test('an offline strip cannot be switched, until it is back', async ({ page }) => {
  const fake = await open(page, `/devices/${OFFLINE}`)
  await expect(page.getByText('it cannot be switched now')).toBeVisible()
  await expect(socket(page, 1).getByRole('switch')).toHaveAttribute('aria-disabled', 'true')
  await expect(page.getByRole('button', { name: 'All off' })).toBeDisabled()
  fake.push({ type: 'DEVICE_ONLINE', deviceId: OFFLINE, eventId: 'e9', presence: { state: 'online', since: new Date(NOW).toISOString() } })
  fake.push({ type: 'telemetry', deviceId: OFFLINE, samples: [sample(77, NOW)] })
  await page.clock.runFor(300)
  await expect(page.getByText('77 W')).toBeVisible()
  await expect(page.getByRole('button', { name: 'All off' })).toBeEnabled()
})

test('a new device shows its credentials once', async ({ page }) => {
  const fake = await open(page, '/devices')
  fake.answers.set('POST /api/v1/devices', (route) =>
    json(route, { credentials: { username: 'B-101-strip01', password: 'secret-of-24-characters!' } }, 201))
  await page.getByRole('button', { name: 'Add device' }).click()
  await page.getByLabel('Device id').fill('B-101-strip01')
  await expect(page.getByRole('dialog').getByLabel('Location')).toHaveValue('B/1/101')
  await page.getByRole('button', { name: 'Add', exact: true }).click()
  await expect(page.getByText('secret-of-24-characters!')).toBeVisible()
  await page.getByRole('button', { name: 'Copy: Password' }).click()
  await expect(page.getByRole('button', { name: 'Copy: Password' })).toHaveText('Copied')
  await page.getByRole('button', { name: 'Close' }).last().click()
  await expect(page.getByText('secret-of-24-characters!')).toBeHidden()
})

test('the list is filtered by state, and the address remembers it', async ({ page }) => {
  await open(page, '/devices?presence=offline')
  await expect(page.getByRole('region', { name: 'Devices' }).getByRole('listitem')).toHaveCount(2)
  await page.getByLabel('Search by id').fill('nothing like it')
  await page.clock.runFor(300)
  await expect(page.getByText('No device matches.')).toBeVisible()
  await expect(page).toHaveURL(/presence=offline/)
  await page.getByRole('button', { name: 'Clear the filter' }).click()
  await expect(page.getByRole('region', { name: 'Devices' }).getByRole('listitem')).toHaveCount(24)
})

test('the language can be changed and is remembered', async ({ page }) => {
  await open(page, '/')
  await page.getByRole('button', { name: 'Language' }).click()
  await page.getByText('中文').click()
  await expect(page.getByRole('heading', { level: 1, name: '总览' })).toBeVisible()
  await page.reload()
  await expect(page.getByRole('heading', { level: 1, name: '总览' })).toBeVisible()
  await expect(page.locator('html')).toHaveAttribute('lang', 'zh-CN')
})

test('at phone width nothing is wider than the screen', async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 })
  const fake = await open(page, '/')
  const trouble = health({ down: { redis: 'connection refused', emqx: 'HTTP 401; 3 devices wait' } })
  fake.answers.set('GET /health', (route) => json(route, trouble.body, trouble.status))
  for (const language of ['zh', 'en']) {
    await page.evaluate((chosen) => {
      localStorage.setItem('dormouse.language', chosen)
    }, language)
    for (const path of ['/', '/devices', `/devices/${STRIP}`, '/inbox', '/events', '/system']) {
      await page.goto(ORIGIN + path)
      await page.getByRole('heading', { level: 1 }).waitFor()
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
      expect([language, path, Math.max(0, overflow)]).toEqual([language, path, 0])
    }
  }
  await page.getByRole('navigation').getByRole('link', { name: 'Devices' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Devices' })).toBeVisible()
})

test('nothing on the page breaks the content security policy, or throws', async ({ page }) => {
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  await open(page, '/')
  for (const path of ['/', '/devices', `/devices/${STRIP}`, '/inbox', '/events', '/system']) {
    await page.goto(ORIGIN + path)
    await page.getByRole('heading', { level: 1 }).waitFor()
    await page.clock.runFor(1_000)
  }
  expect(complaints).toEqual([])
})

test('a deep link to an unknown device or page says so', async ({ page }) => {
  await open(page, '/devices/nobody')
  await expect(page.getByText('There is no device nobody.')).toBeVisible()
  await page.goto(`${ORIGIN}/no/such/page`)
  await expect(page.getByText('There is no such page.')).toBeVisible()
})
