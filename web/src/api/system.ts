// How the platform itself is: its parts, and the nodes that serve the site.

import { http, take } from './client'
import { toError } from './problem'
import type { HealthReport } from './types'

/** A node that does not answer within this time is as good as away. */
const PATIENCE_MS = 4_000

/** How the parts are. That one of them is down is an answer (503), not a failure to get one. */
export async function health(): Promise<HealthReport> {
  const { data, error, response } = await http.GET('/health', { signal: AbortSignal.timeout(PATIENCE_MS) })
  const report: unknown = data ?? error
  if (isReport(report))
    return report
  throw toError(response, error)
}

export const nodes = () => take(http.GET('/api/v1/nodes', { signal: AbortSignal.timeout(PATIENCE_MS) }))

/** A proxy's own 503 is none. */
function isReport(body: unknown): body is HealthReport {
  return typeof body === 'object' && body !== null && 'parts' in body && 'intake' in body
}
