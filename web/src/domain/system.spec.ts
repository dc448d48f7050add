import { describe, expect, test } from 'vitest'
import type { HealthReport, Part, SiteNode } from '@/api/types'
import {
  adviceFor, brokenParts, gravityOf, intakeIsTroubled, journalFill, nodeRows, partsOf, reporterOf, seesNodes,
  seesSystem, siteGravity, slotOf,
} from './system'

const part = (more: Partial<Part> = {}): Part =>
  ({ engine: 'redis', state: 'ok', needed: true, since: '2026-01-01T00:00:00.000Z', ...more })

const report = (parts: Record<string, Part>, intake: Partial<HealthReport['intake']> = {}): HealthReport => ({
  mqtt: 'connected',
  redis: 'ok',
  db: 'ok',
  parts,
  intake: {
    way: 'direct', waiting: 0, aside: 0, journalUsedBytes: 0, journalCapacityBytes: 1_000, journalFull: false, ...intake,
  },
})

const node = (name: string, more: Partial<SiteNode> = {}): SiteNode =>
  ({ node: name, version: '0.1.0', since: null, address: null, down: [], seenAgoMs: 500, leases: [], ...more })

test('who looks after the whole site sees how it is, and administrators its nodes', () => {
  const by = (role: 'admin' | 'manager' | 'viewer' | 'resident', scope = '') => ({ role, scope })
  expect([by('admin'), by('manager'), by('viewer'), by('resident'), by('admin', 'A/3')].map(seesSystem))
    .toEqual([true, true, false, false, false])
  expect([by('admin'), by('manager'), by('admin', 'A/3'), undefined].map(seesNodes))
    .toEqual([true, false, false, false])
})

test('parts keep their places whatever their state, and unknown ones come last', () => {
  const parts = { zeta: part(), db: part({ state: 'down' }), alpha: part(), mqtt: part() }
  expect(partsOf(report(parts)).map(({ name }) => name)).toEqual(['mqtt', 'db', 'alpha', 'zeta'])
})

describe('how bad it is', () => {
  test.each([
    ['everything works', report({ db: part() }), 'ok'],
    ['something needed is down', report({ db: part({ state: 'down' }) }), 'down'],
    ['something else is down', report({ emqx: part({ state: 'down', needed: false }) }), 'limited'],
    ['what is not needed starts', report({ maintenance: part({ state: 'down', needed: false, detail: 'starting' }) }), 'ok'],
    ['what is needed starts', report({ mqtt: part({ state: 'down', detail: 'starting' }) }), 'down'],
    ['messages take the detour', report({}, { way: 'detour' }), 'limited'],
    ['the journal is its usual way', report({}, { way: 'journal' }), 'ok'],
    ['the journal is half full', report({}, { journalUsedBytes: 500 }), 'limited'],
    ['the journal is full', report({}, { journalFull: true }), 'down'],
  ])('%s', (_, given, gravity) => {
    expect(gravityOf(given)).toBe(gravity)
  })

  test('only what does not work is named', () => {
    const parts = { db: part(), redis: part({ state: 'down' }), maintenance: part({ state: 'down', needed: false, detail: 'starting' }) }
    expect(brokenParts(report(parts)).map(({ name }) => name)).toEqual(['redis'])
  })
})

test('the journal is never more than full, and one without size is empty', () => {
  const { intake } = report({})
  expect(journalFill({ ...intake, journalUsedBytes: 250 })).toBe(0.25)
  expect(journalFill({ ...intake, journalUsedBytes: 2_000 })).toBe(1)
  expect(journalFill({ ...intake, journalCapacityBytes: 0 })).toBe(0)
  expect(intakeIsTroubled({ ...intake, journalUsedBytes: 499 })).toBe(false)
})

test.each([
  ['mqtt', 'embedded', 'broker'], ['mqtt', 'mqtt', 'link'], ['redis', 'redis', 'redis'],
  ['db', 'sqlite', 'sqlite'], ['history', 'sqlite', 'sqlite'], ['db', 'timescaledb', 'postgres'],
  ['maintenance', 'postgresql', 'maintenance'], ['something', 'new', 'other'],
])('what helps %s on %s', (name, engine, advice) => {
  expect(adviceFor({ name, engine })).toBe(advice)
})

describe('nodes', () => {
  const rows = nodeRows({
    items: [node('site-b-x7Qm2W'), node('c-111111')],
    lost: [node('a-999999')],
    answeredBy: 'c-111111',
  })

  test('one that is lost stays in its place', () => {
    expect(rows.map(({ name, isLost }) => [name, isLost])).toEqual([['a', true], ['c', false], ['site-b', false]])
  })

  test('a lost node, and one that lacks something, limit the site', () => {
    const limited = (site: Parameters<typeof nodeRows>[0]) => siteGravity(report({}), nodeRows(site))
    const none = { items: [], lost: [] }
    expect(limited({ ...none, items: [node('c-1')] })).toBe('ok')
    expect(limited({ ...none, lost: [node('a-1')] })).toBe('limited')
    expect(limited({ ...none, items: [node('c-1', { down: ['redis'] })] })).toBe('limited')
    expect(siteGravity(report({ db: part({ state: 'down' }) }), rows)).toBe('down')
    expect(siteGravity(report({}, { aside: 2 }), [])).toBe('limited')
    expect(gravityOf(report({}, { aside: 2 })), 'it is no outage').toBe('ok')
  })

  test('the one that answers is known, and the one whose health it is', () => {
    expect(rows.filter(({ answers }) => answers).map(({ name }) => name)).toEqual(['c'])
    expect(reporterOf({ ...report({}), instance: 'x7Qm2W' }, rows)?.name).toBe('site-b')
    expect(reporterOf(report({}), rows)).toBeUndefined()
  })
})

test('a share of the broker\'s messages has a number', () => {
  expect([slotOf('slot/12'), slotOf('slots'), slotOf('presence')]).toEqual(['12', undefined, undefined])
})
