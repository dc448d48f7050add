// Signing in and out.

import { call, useCsrfToken } from './client'
import type { Session } from './types'

function started(session: Session): Session {
  useCsrfToken(session.csrfToken)
  return session
}

/** Who is signed in; a 401 where nobody is. */
export async function current(): Promise<Session> {
  return started(await call<Session>('GET', 'session'))
}

export async function signIn(username: string, password: string): Promise<Session> {
  return started(await call<Session>('POST', 'session', { body: { username, password } }))
}

/** Whether nobody can sign in yet. */
export async function needsSetup(): Promise<boolean> {
  return (await call<{ needed: boolean }>('GET', 'setup')).needed
}

/** Creates the administrator with the one-time token and signs in. */
export async function setUp(token: string, username: string, password: string): Promise<Session> {
  return started(await call<Session>('POST', 'setup', { body: { token, username, password } }))
}

export async function signOut(): Promise<void> {
  await call('DELETE', 'session')
  useCsrfToken(undefined)
}
