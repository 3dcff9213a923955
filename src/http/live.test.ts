import { afterEach, expect, test, vi } from 'vitest'
import { readCursor, toBody } from './live.ts'

afterEach(() => void vi.useRealTimers())

async function* endless() {
  for (;;) yield 'x'
}

test.each([
  ['0.0', { hookEventId: 0, stateChangeId: 0 }],
  ['12.7', { hookEventId: 12, stateChangeId: 7 }],
  ['12', null],
  ['-1.2', null],
  ['1.2.3', null],
  ['1e3.1', null],
  ['9999999999999999.1', null],
])('the cursor %j is read as %j', (text, cursor) => {
  expect(readCursor(text)).toEqual(cursor)
})

test('a client that takes nothing for a minute is dropped, and one that takes is not', async () => {
  vi.useFakeTimers()
  const drop = vi.fn<() => void>()
  const reader = toBody(endless(), new AbortController(), drop).getReader()
  await reader.read()
  await vi.advanceTimersByTimeAsync(50_000)
  await reader.read()
  await vi.advanceTimersByTimeAsync(50_000)
  expect(drop).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(10_000)
  expect(drop).toHaveBeenCalledOnce()
})

test('a client that left is not dropped again', async () => {
  vi.useFakeTimers()
  const drop = vi.fn<() => void>()
  const abort = new AbortController()
  const reader = toBody(endless(), abort, drop).getReader()
  await reader.read()
  await reader.cancel()
  await vi.advanceTimersByTimeAsync(100_000)
  expect(abort.signal.aborted).toBe(true)
  expect(drop).not.toHaveBeenCalled()
})
