// Requests to the server: one place that knows the base address, the CSRF
// header, and how refusals look.

import { ApiError, toError } from './problem'

/** The API's address, beside the page's own (see `<base>` in index.html). */
export const API_BASE = new URL('api/v1/', document.baseURI)

/** Called with every 401, so that the page can ask to sign in. */
export type OnSignedOut = () => void

let csrfToken: string | undefined
let onSignedOut: OnSignedOut = () => undefined

/** Sets the token that changing requests carry; `undefined` after signing out. */
export function useCsrfToken(token: string | undefined): void {
  csrfToken = token
}

/** Registers who is told that the session is over. */
export function whenSignedOut(listener: OnSignedOut): void {
  onSignedOut = listener
}

export interface Call {
  query?: Record<string, string | number | boolean | undefined>
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
}

/** One request; throws an `ApiError` unless it succeeds. */
export async function call<T>(method: string, path: string, { query, body, headers, signal }: Call = {}): Promise<T> {
  const url = new URL(path, API_BASE)
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== '')
      url.searchParams.set(name, String(value))
  }
  const response = await send(url, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(method !== 'GET' && csrfToken ? { 'x-csrf-token': csrfToken } : {}),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  })
  const answer: unknown = await response.json().catch(() => undefined)
  if (!response.ok) {
    const error = toError(response, answer)
    if (error.status === 401)
      onSignedOut()
    throw error
  }
  return answer as T
}

async function send(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { credentials: 'same-origin', ...init })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError')
      throw error
    throw new ApiError(0, undefined)
  }
}
