import { expect, test } from 'vitest'
import { effectScope } from 'vue'
import type { Page } from '@/api/fleet'
import { type Loader, usePages } from './usePages'

function pagesOf<T>(load: Loader<T>) {
  const scope = effectScope()
  const pages = scope.run(() => usePages(load))
  if (!pages)
    throw new Error('the scope is inactive')
  return pages
}

test('pages are joined until there is no cursor', async () => {
  const answers: Record<string, Page<number>> = {
    first: { items: [1, 2], nextCursor: 'next' },
    next: { items: [3], nextCursor: null },
  }
  const pages = pagesOf((cursor) => Promise.resolve(answers[cursor ?? 'first'] ?? { items: [], nextCursor: null }))
  await pages.reload()
  await pages.more()
  await pages.more()
  expect(pages.items.value).toEqual([1, 2, 3])
})

test('a new question aborts the one before, whose answer is dropped', async () => {
  const asked: { signal: AbortSignal, answer: (page: Page<string>) => void }[] = []
  const pages = pagesOf<string>((_, signal) => new Promise((answer, refuse) => {
    asked.push({ signal, answer })
    signal.addEventListener('abort', () => {
      refuse(new Error('aborted'))
    })
  }))
  const first = pages.reload()
  const second = pages.reload()
  expect(asked[0]?.signal.aborted).toBe(true)
  asked[1]?.answer({ items: ['second'], nextCursor: null })
  await Promise.all([first, second])
  expect(pages.items.value).toEqual(['second'])
  expect(pages.failure.value).toBeUndefined()
})

test('a failure is kept until the next try', async () => {
  let broken = true
  const pages = pagesOf<number>(() => broken ? Promise.reject(new Error('no')) : Promise.resolve({ items: [1], nextCursor: null }))
  await pages.reload()
  expect(pages.failure.value).toBeInstanceOf(Error)
  broken = false
  await pages.reload()
  expect([pages.failure.value, pages.items.value]).toEqual([undefined, [1]])
})
