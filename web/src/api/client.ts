// Requests to the server, typed by its document: one place that knows the
// base address, the CSRF header, and how refusals look.

import createClient, { type Middleware } from 'openapi-fetch'
import { ApiError, toError } from './problem'
import type { paths } from './schema'

/** The server's address, beside the page's own (see `<base>` in index.html). */
export const BASE = new URL('./', document.baseURI)

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

const manners: Middleware = {
  onRequest({ request }) {
    if (request.method !== 'GET' && csrfToken !== undefined)
      request.headers.set('x-csrf-token', csrfToken)
    return request
  },
  onError({ error }) {
    // An aborted request was our own wish; anything else means that nobody answered.
    return error instanceof DOMException && error.name === 'AbortError' ? error : new ApiError(0, undefined)
  },
}

/** The typed client; its answers go through `take`. */
export const http = createClient<paths>({
  baseUrl: BASE.href.replace(/\/$/, ''),
  credentials: 'same-origin',
  // Looked up at each call: the page may be tested with another.
  fetch: (request) => fetch(request),
})
http.use(manners)

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

/** What an answer carries; throws an `ApiError` if it is a refusal. */
export async function take<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await answer
  if (response.ok)
    return data as T
  if (response.status === 401)
    onSignedOut()
  throw toError(response, error)
}
