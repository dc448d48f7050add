import { expect, test } from 'vitest'
import { isDeviceId, suggestLocation } from './deviceId'

test.each(['A', '9', 'A-302-strip01', 'a.b_c-d', 'x'.repeat(32)])('%s is an id', (id) => {
  expect(isDeviceId(id)).toBe(true)
})

test.each(['', '-a', '.a', 'a b', 'a/b', 'a+', '#', 'ä', 'x'.repeat(33)])('"%s" is none', (id) => {
  expect(isDeviceId(id)).toBe(false)
})

test.each([
  ['A-302-strip01', 'A/3/302'], ['B2-1105-strip9', 'B2/11/1105'], ['c_101_x', 'c/1/101'],
  ['strip01', undefined], ['A-302', undefined], ['A-02-strip', undefined], ['A-302-', undefined],
  ['302-A-strip', undefined], ['A-012-strip', undefined], ['LONGNAME-302-s', undefined],
])('%s suggests %s', (id, location) => {
  expect(suggestLocation(id)).toBe(location)
})
