// A refusal by the server (RFC 9457), or the network's failure to reach it,
// as one error type.

import type { Problem } from './types'

/** Why a request did not succeed. */
export class ApiError extends Error {
  /** The problem's stable type: the last part of its URI, or `network` when there was no answer. */
  readonly type: string
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  /** Seconds to wait before another try, where the server said so. */
  readonly retryAfterS: number | undefined
  /** The whole document, with any members of its own. */
  readonly problem: Problem | undefined

  constructor(status: number, problem: Problem | undefined, retryAfterS?: number) {
    super(problem?.detail ?? problem?.title ?? (status === 0 ? 'no answer' : `HTTP ${String(status)}`))
    this.name = 'ApiError'
    this.status = status
    this.problem = problem
    this.type = status === 0 ? 'network' : shortType(problem?.type)
    this.retryAfterS = retryAfterS
  }
}

/** Reads a refused response; a body that is no problem document is not an error of its own. */
export function toError(response: Response, body: unknown): ApiError {
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN)
  return new ApiError(
    response.status,
    isProblem(body) ? body : undefined,
    Number.isFinite(retryAfter) ? retryAfter : undefined,
  )
}

function isProblem(body: unknown): body is Problem {
  return typeof body === 'object' && body !== null && 'title' in body && typeof body.title === 'string'
}

function shortType(type: string | undefined): string {
  return type?.split(/[/:#]/).filter(Boolean).at(-1) ?? 'unknown'
}
