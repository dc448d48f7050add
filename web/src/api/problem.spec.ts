import { expect, test } from 'vitest'
import { ApiError, toError } from './problem'

const refused = (status: number, headers: Record<string, string> = {}) => new Response(null, { status, headers })

test('a problem document gives its type, detail and members', () => {
  const body = { type: '/problems/command-pending', title: 'Pending', status: 409, detail: 'wait', pending: { cmdId: '1' } }
  const error = toError(refused(409), body)
  expect([error.type, error.status, error.message]).toEqual(['command-pending', 409, 'wait'])
  expect(error.problem).toMatchObject({ pending: { cmdId: '1' } })
})

test('a refusal without a document is still an error with its status', () => {
  const error = toError(refused(502), '<html>')
  expect([error.type, error.status, error.message]).toEqual(['unknown', 502, 'HTTP 502'])
})

test('the time to wait is kept', () => {
  expect(toError(refused(429, { 'retry-after': '3' }), undefined).retryAfterS).toBe(3)
  expect(toError(refused(429), undefined).retryAfterS).toBeUndefined()
})

test('no answer at all is a network error', () => {
  expect(new ApiError(0, undefined).type).toBe('network')
})
