// How the platform is: which of its parts are in trouble, how bad that is,
// and which node is which. Plain data, pure functions.

import type { HealthReport, Intake, Part, Session, SiteNode, SiteNodes } from '@/api/types'

/** How the whole is: it works, it works with limits, or its main job does not. */
export type Gravity = 'ok' | 'limited' | 'down'

export type PartState = 'ok' | 'starting' | 'down'

/** A part by its name. */
export interface NamedPart extends Omit<Part, 'state'> {
  readonly name: string
  readonly state: PartState
}

/** What is known of a part beyond its name: what its trouble means, and what helps. */
export const KNOWN_PARTS = [
  'mqtt', 'redis', 'db', 'history', 'commands', 'journal', 'clock', 'emqx', 'mosquitto', 'maintenance',
] as const
export type KnownPart = (typeof KNOWN_PARTS)[number]

export const ADVICE = [
  'broker', 'link', 'redis', 'postgres', 'sqlite', 'journal', 'clock', 'emqx', 'mosquitto', 'maintenance', 'other',
] as const
export type Advice = (typeof ADVICE)[number]

/** Filled further than this, the journal says that the database does not keep up. */
export const JOURNAL_HIGH = 0.5

/** What a node holds for all. */
export const KNOWN_DUTIES = ['presence', 'upkeep', 'retained'] as const

/** Whether somebody looks after the platform itself: how it is does not concern who only looks at rooms. */
export function seesSystem(session: Pick<Session, 'role' | 'scope'> | undefined): boolean {
  return session !== undefined && !session.scope && (session.role === 'admin' || session.role === 'manager')
}

/** Whether the server tells them of its nodes. */
export function seesNodes(session: Pick<Session, 'role' | 'scope'> | undefined): boolean {
  return seesSystem(session) && session?.role === 'admin'
}

export function isKnownPart(name: string): name is KnownPart {
  return (KNOWN_PARTS as readonly string[]).includes(name)
}

/** The parts in an order that does not change with their state; unknown ones last, by name. */
export function partsOf(report: HealthReport): NamedPart[] {
  const rank = (name: string) => (isKnownPart(name) ? KNOWN_PARTS.indexOf(name) : KNOWN_PARTS.length)
  return Object.entries(report.parts)
    .map(([name, part]) => ({ ...part, name, state: stateOf(part) }))
    .sort((a, b) => rank(a.name) - rank(b.name) || a.name.localeCompare(b.name))
}

/** What is not needed may take its time after a start. */
function stateOf(part: Part): PartState {
  return part.state === 'down' && part.detail === 'starting' && !part.needed ? 'starting' : part.state
}

/** The parts that do not work. */
export function brokenParts(report: HealthReport): NamedPart[] {
  return partsOf(report).filter((part) => part.state === 'down')
}

/** How full the journal is, 0 to 1. */
export function journalFill(intake: Intake): number {
  return intake.journalCapacityBytes > 0
    ? Math.min(1, intake.journalUsedBytes / intake.journalCapacityBytes)
    : 0
}

/** Whether the way in deserves a look. */
export function intakeIsTroubled(intake: Intake): boolean {
  return intake.way === 'detour' || intake.journalFull || journalFill(intake) >= JOURNAL_HIGH
}

export function gravityOf(report: HealthReport): Gravity {
  const broken = brokenParts(report)
  if (broken.some((part) => part.needed) || report.intake.journalFull)
    return 'down'
  return broken.length > 0 || intakeIsTroubled(report.intake) ? 'limited' : 'ok'
}

/** Which words say what a part's trouble means and what helps. */
export function adviceFor(part: Pick<NamedPart, 'name' | 'engine'>): Advice {
  switch (part.name) {
    case 'mqtt':
      return part.engine === 'embedded' ? 'broker' : 'link'
    case 'db':
    case 'history':
    case 'commands':
      return part.engine === 'sqlite' ? 'sqlite' : 'postgres'
    default:
      return ADVICE.find((advice) => advice === part.name) ?? 'other'
  }
}

/** A node as people see it. */
export interface NodeRow {
  readonly node: SiteNode
  /** What people call it. */
  readonly name: string
  /** What tells this process from its former selves. */
  readonly own: string
  readonly isLost: boolean
  readonly answers: boolean
}

/** All nodes in order of their names: one that dies stays where it was. */
export function nodeRows(nodes: SiteNodes): NodeRow[] {
  const row = (node: SiteNode, isLost: boolean): NodeRow => {
    const dash = node.node.lastIndexOf('-')
    return {
      node,
      name: dash > 0 ? node.node.slice(0, dash) : node.node,
      own: dash > 0 ? node.node.slice(dash + 1) : '',
      isLost,
      answers: node.node === nodes.answeredBy,
    }
  }
  return [...nodes.items.map((node) => row(node, false)), ...nodes.lost.map((node) => row(node, true))]
    .sort((a, b) => a.name.localeCompare(b.name) || a.own.localeCompare(b.own))
}

/** How the whole site is: what another node lacks, or what the database has refused, is a limit, too. */
export function siteGravity(report: HealthReport, rows: readonly NodeRow[]): Gravity {
  const own = gravityOf(report)
  const isLimited = report.intake.aside > 0 || rows.some(({ isLost, node }) => isLost || node.down.length > 0)
  return own === 'ok' && isLimited ? 'limited' : own
}

/** The node whose health a report is, where several serve the site. */
export function reporterOf(report: HealthReport, rows: readonly NodeRow[]): NodeRow | undefined {
  return rows.find((row) => row.own !== '' && row.own === report.instance)
}

/** The number of a share of the broker's messages, from `slot/3`. */
export function slotOf(lease: string): string | undefined {
  return /^slot\/(\d+)$/.exec(lease)?.[1]
}
