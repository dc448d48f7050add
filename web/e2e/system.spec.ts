// The page that shows the platform itself, and the banner that leads to it.

import { expect, type Page, test } from '@playwright/test'
import { NOW } from './fake/fleet'
import { type Fake, fakeServer, json, ORIGIN, problem, SESSION } from './fake/server'
import { health, nodes } from './fake/system'

const NO_REDIS = health({ down: { redis: 'connection refused' } })

async function open(page: Page, path: string, prepare: (fake: Fake) => void = () => undefined): Promise<Fake> {
  await page.clock.install({ time: NOW })
  const fake = await fakeServer(page)
  prepare(fake)
  await page.goto(ORIGIN + path)
  return fake
}

const isHow = (fake: Fake, { body, status }: { body: object, status: number }) =>
  fake.answers.set('GET /health', (route) => json(route, body, status))
const part = (page: Page, name: string) =>
  page.getByRole('region', { name: 'Parts' }).getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) })
const banner = (page: Page) => page.getByRole('status').filter({ hasText: 'Not working' })

test('an outage shows by itself, with what helps, and goes by itself', async ({ page }) => {
  const fake = await open(page, '/system')
  await expect(page.getByText('Everything works')).toBeVisible()
  await expect(part(page, 'Database upkeep')).toContainText('Last success 24 min. ago. Next run at')

  isHow(fake, NO_REDIS)
  await page.clock.runFor(6_000)
  await expect(page.getByText('Something needed does not work')).toBeVisible()
  await expect(part(page, 'Live state')).toContainText('Down')
  await expect(part(page, 'Live state')).toContainText('connection refused')
  await expect(part(page, 'Live state')).toContainText('Commands are refused')
  await expect(part(page, 'Database')).toContainText('Works')

  fake.answers.delete('GET /health')
  await page.clock.runFor(6_000)
  await expect(page.getByText('Everything works')).toBeVisible()
})

test('while the database is away, what was known stays and the detour shows', async ({ page }) => {
  const fake = await open(page, '/system')
  await expect(page.getByRole('article', { name: /dormouse-2/ })).toContainText('10.3.0.12:8080')
  fake.answers.set('GET /api/v1/nodes', (route) => problem(route, 503, 'store-unavailable', 'the database does not answer'))
  isHow(fake, health({ down: { db: 'connection refused' }, intake: { way: 'detour', waiting: 4_210, journalUsedBytes: 2_202_010 } }))
  await page.clock.runFor(6_000)
  const way = page.getByRole('region', { name: 'Way in' })
  await expect(way).toContainText('Detour through the journal')
  await expect(way).toContainText('4,210')
  await expect(way).toContainText('2.1 MiB of 64 MiB (3%)')
  await expect(page.getByText('The list of nodes does not answer now.')).toBeVisible()
  await expect(page.getByRole('article', { name: /dormouse-2/ })).toContainText('Not known now')
})

test('messages that the database refused are counted and explained', async ({ page }) => {
  await open(page, '/system', (fake) => {
    isHow(fake, health({ intake: { aside: 3 } }))
  })
  const way = page.getByRole('region', { name: 'Way in' })
  await expect(way).toContainText(/Messages put aside\s*3/)
  await expect(way).toContainText('refused_messages')
  await expect(page.getByText('Works with limits')).toBeVisible()
})

test('a server that is gone leaves the last report, marked as old', async ({ page }) => {
  const fake = await open(page, '/system')
  await expect(page.getByText('Everything works')).toBeVisible()
  fake.answers.set('GET /health', (route) => route.abort())
  fake.answers.set('GET /api/v1/nodes', (route) => route.abort())
  await page.clock.runFor(6_000)
  await expect(page.getByRole('alert')).toContainText('The server cannot be reached. What you see is from before.')
  await expect(part(page, 'Database')).toBeVisible()
})

test('each node is there, and a dead one is seen as such', async ({ page }) => {
  await open(page, '/system', (fake) => {
    fake.answers.set('GET /api/v1/nodes', (route) => json(route, nodes('dormouse-2', { 'dormouse-3': ['redis'] })))
  })
  const node = (name: string) => page.getByRole('article', { name: new RegExp(name) })
  await expect(node('dormouse-1')).toContainText('Answers this page')
  await expect(node('dormouse-1')).toContainText('presence, retained messages, broker share 0, and upkeep')
  await expect(node('dormouse-1')).toContainText('3d')
  await expect(node('dormouse-2')).toContainText('Lost')
  await expect(node('dormouse-2')).toContainText('Died without signing off, 1 min. ago.')
  await expect(node('dormouse-3')).toContainText('Alive, in trouble')
  await expect(node('dormouse-3')).toContainText('Live state')
  await expect(page.getByText('as node dormouse-1 sees them')).toBeVisible()
  await expect(page.getByText('Works with limits')).toBeVisible()
})

test('every page says that something is down, and leads to what helps', async ({ page }) => {
  await open(page, '/devices', (fake) => {
    isHow(fake, NO_REDIS)
  })
  await expect(banner(page)).toContainText('Not working: Live state (Redis).')
  await banner(page).getByRole('link').click()
  await expect(page.getByRole('heading', { level: 1, name: 'System' })).toBeVisible()
  await expect(banner(page)).toBeHidden()
})

test('who does not look after the site sees no trouble that they cannot mend', async ({ page }) => {
  await open(page, '/', (fake) => {
    isHow(fake, NO_REDIS)
    fake.answers.set('GET /api/v1/session', (route) => json(route, { ...SESSION, role: 'resident', scope: 'A/3/302' }))
  })
  await expect(page.getByText('of 24')).toBeVisible()
  await expect(page.getByRole('navigation').getByRole('link', { name: 'Events' })).toBeVisible()
  await expect(page.getByRole('navigation').getByRole('link', { name: 'System' })).toBeHidden()
  await expect(banner(page)).toBeHidden()
  await page.goto(`${ORIGIN}/system`)
  await expect(page.getByText('You may not do that.')).toBeVisible()
})

test('a page opened in the middle of an outage says what is down, and opens when it is over', async ({ page }) => {
  const fake = await open(page, '/events', (fake) => {
    isHow(fake, health({ down: { db: 'connection refused' } }))
    fake.answers.set('GET /api/v1/session', (route) => problem(route, 503, 'store-unavailable', 'the database does not answer'))
  })
  await expect(page.getByText('The server is not ready right now.')).toBeVisible()
  await expect(page.getByRole('listitem')).toContainText('Database')
  fake.answers.clear()
  await page.clock.runFor(6_000)
  await expect(page.getByRole('heading', { level: 1, name: 'Events' })).toBeVisible()
})
