import { expect, test } from 'vitest'
import { createCached } from './cached.ts'

function stage() {
  const state = { now: 0, reads: 0, fault: null as Error | null }
  const cached = createCached({
    read: async () => {
      state.reads += 1
      await Promise.resolve()
      if (state.fault !== null) throw state.fault
      return state.reads
    },
    maxAgeMs: 100,
    mayBeOld: (error) => error instanceof Error && error.message === 'away',
    clock: () => state.now,
  })
  return { state, cached }
}

test('an answer is read again only when it is older than it may be', async () => {
  const { state, cached } = stage()
  expect(cached.last()).toBeNull()
  expect(await cached.get()).toBe(1)
  state.now = 99
  expect(await cached.get()).toBe(1)
  state.now = 100
  expect([await cached.get(), cached.last()]).toEqual([2, 2])
})

test('those who ask at once share one read', async () => {
  const { state, cached } = stage()
  expect(await Promise.all([cached.get(), cached.get(), cached.get()])).toEqual([1, 1, 1])
  expect(state.reads).toBe(1)
})

test('while nobody answers the last one counts, however old; every other error is told', async () => {
  const { state, cached } = stage()
  state.fault = new Error('away')
  await expect(cached.get()).rejects.toThrow('away')
  state.fault = null
  expect(await cached.get()).toBe(2)
  state.now = 1e9
  state.fault = new Error('away')
  expect(await cached.get()).toBe(2)
  state.fault = new Error('refused')
  await expect(cached.get()).rejects.toThrow('refused')
  state.fault = null
  expect(await cached.get()).toBe(5)
})
