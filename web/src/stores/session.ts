// Who is signed in.

import { defineStore } from 'pinia'
import { ref, shallowRef } from 'vue'
import { useCsrfToken } from '@/api/client'
import { ApiError } from '@/api/problem'
import * as api from '@/api/session'
import type { Session } from '@/api/types'

export const useSession = defineStore('session', () => {
  const session = ref<Session>()
  /** Whether the server has been asked yet. */
  const known = ref(false)
  /** Why the server could not be asked. */
  const failure = shallowRef<unknown>()

  /** Asks the server once who we are. */
  async function load() {
    if (known.value)
      return
    try {
      session.value = await api.current()
      failure.value = undefined
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) {
        failure.value = error
        throw error
      }
    }
    known.value = true
  }

  async function signIn(username: string, password: string) {
    session.value = await api.signIn(username, password)
    known.value = true
  }

  async function setUp(token: string, username: string, password: string) {
    session.value = await api.setUp(token, username, password)
    known.value = true
  }

  async function signOut() {
    await api.signOut()
    forget()
  }

  /** The session is over, whoever ended it. */
  function forget() {
    session.value = undefined
    useCsrfToken(undefined)
  }

  return { session, known, failure, load, signIn, setUp, signOut, forget }
})
