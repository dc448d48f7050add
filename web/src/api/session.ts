// Signing in and out.

import { http, take, useCsrfToken } from './client'
import type { Session } from './types'

function started(session: Session): Session {
  useCsrfToken(session.csrfToken ?? undefined)
  return session
}

/** Who is signed in; a 401 where nobody is. */
export async function current(): Promise<Session> {
  return started(await take(http.GET('/api/v1/session')))
}

export async function signIn(username: string, password: string): Promise<Session> {
  return started(await take(http.POST('/api/v1/session', { body: { username, password } })))
}

/** Whether nobody can sign in yet. */
export async function needsSetup(): Promise<boolean> {
  return (await take(http.GET('/api/v1/setup'))).needed
}

/** Creates the administrator with the one-time token and signs in. */
export async function setUp(token: string, username: string, password: string): Promise<Session> {
  return started(await take(http.POST('/api/v1/setup', { body: { token, username, password } })))
}

export async function signOut(): Promise<void> {
  await take(http.DELETE('/api/v1/session'))
  useCsrfToken(undefined)
}
