import { expect, test } from 'vitest'
import { extend, type Point, usualStepMs, withGaps } from './series'

test('extending in order appends', () => {
  expect(extend([[1, 1]], [[2, 2]], 100)).toEqual([[1, 1], [2, 2]])
})

test('extending out of order sorts, and the newer value of the same moment wins', () => {
  expect(extend([[1, 1], [5, 5]], [[3, 3], [5, 6]], 100)).toEqual([[1, 1], [3, 3], [5, 6]])
})

test('nothing added is the same series', () => {
  const series: Point[] = [[1, 1]]
  expect(extend(series, [], 100)).toBe(series)
})

test('a distance beyond the limit becomes a gap, one at the limit does not', () => {
  expect(withGaps([[0, 1], [10, 2], [21, 3]], 10)).toEqual([[0, 1], [10, 2], [11, null], [21, 3]])
})

test('the usual step is not fooled by a gap', () => {
  expect(usualStepMs([[0, 1], [5, 1], [10, 1], [900, 1], [905, 1]])).toBe(5)
  expect(usualStepMs([[0, 1]])).toBeUndefined()
})
