import { expect, test } from 'vitest'
import { KNOWN_EVENTS } from '@/domain/events'
import { ADVICE, KNOWN_DUTIES, KNOWN_PARTS } from '@/domain/system'
import { detect, messages } from './index'

interface Tree { [key: string]: string | Tree }

function texts(tree: Tree, path = ''): [key: string, text: string][] {
  return Object.entries(tree).flatMap(([key, value]) =>
    typeof value === 'string' ? [[path + key, value] as [string, string]] : texts(value, `${path}${key}.`))
}

const english = texts(messages.en)
const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort()

test.each(Object.entries(messages))('%s has every key and no other', (_, tree) => {
  expect(texts(tree).map(([key]) => key).sort()).toEqual(english.map(([key]) => key).sort())
})

test.each(Object.entries(messages))('%s names the same values in each text', (_, tree) => {
  const other = new Map(texts(tree))
  for (const [key, text] of english)
    expect([key, new Set(placeholders(other.get(key) ?? ''))]).toEqual([key, new Set(placeholders(text))])
})

test.each(Object.entries(messages))('%s leaves nothing empty', (_, tree) => {
  expect(texts(tree).filter(([, text]) => text.trim() === '')).toEqual([])
})

test('every event type known to the page has a sentence', () => {
  const keys = new Set(english.map(([key]) => key))
  for (const type of KNOWN_EVENTS)
    expect(keys).toContain(`event.${type.replace('.', '_')}`)
})

test('every part, duty and advice known to the page has words', () => {
  const { part, duty, advice } = messages.en.system
  expect(Object.keys(part)).toEqual([...KNOWN_PARTS])
  expect(Object.keys(duty)).toEqual([...KNOWN_DUTIES, 'slot'])
  expect(Object.keys(advice)).toEqual([...ADVICE])
})

test('the first wanted language that we have is taken', () => {
  expect(detect(['fr-FR', 'zh-TW', 'en'])).toBe('zh')
  expect(detect(['fr'])).toBe('en')
})
