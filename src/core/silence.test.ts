import { expect, test } from 'vitest'
import { hear, type Silence } from './silence.ts'

const after = (...looks: number[][]) => looks.reduce<Silence | null>(hear, null)?.ticks

test('a counter that stands still is silent for as many ticks as it was looked at', () => {
  expect(after([5, 7], [5, 8], [5, 9], [5, 10])).toEqual([3, 0])
})

test('one beat ends a silence, however long it was', () => {
  expect(after([5], [5], [5], [6])).toEqual([0])
  expect(after([5], [5], [6], [6])).toEqual([1])
})

test('a counter at zero is not watched, and one that comes to life is watched from there', () => {
  expect(after([0], [0], [0])).toEqual([0])
  expect(after([0], [0], [1], [1])).toEqual([1])
  expect(after([4], [4], [0], [0])).toEqual([0])
})
