import { expect, test } from 'vitest'
import { createHealth } from './health.ts'

function start(over: Partial<Parameters<typeof createHealth>[0]> = {}) {
  const world = { now: 10_000, asked: 0, tmux: true, silent: false, held: null as string | null, disk: 'ok' }
  const health = createHealth({
    database: () => true,
    tmux: async () => {
      world.asked += 1
      return world.tmux
    },
    beats: { silent: () => (world.silent ? ['sweep'] : []) },
    loopMs: 30_000,
    held: () => world.held,
    disk: () => world.disk,
    supabase: null,
    clock: () => world.now,
    ...over,
  })
  return { world, health }
}

test('all is well', async () => {
  const well = { status: 'ok', database: 'ok', tmux: 'ok', loops: 'ok', claims: 'ok', disk: 'ok' }
  expect(await start().health('all')).toEqual(well)
})

test('a part that does not work is failing; held claims and a full disk alone are not', async () => {
  const { world, health } = start()
  world.held = 'usage_limit'
  expect(await health('all')).toMatchObject({ status: 'degraded', claims: 'usage_limit' })
  world.held = null
  world.disk = 'full'
  expect(await health('all')).toMatchObject({ status: 'degraded', disk: 'full' })
  world.silent = true
  expect(await health('all')).toMatchObject({ status: 'failing', loops: 'silent' })
  const gone = start({ database: () => false })
  expect(await gone.health('all')).toMatchObject({ status: 'failing', database: 'gone' })
  const thrown = start({
    database: () => {
      throw new Error('x')
    },
  })
  expect(await thrown.health('all')).toMatchObject({ status: 'failing', database: 'gone' })
  const dead = start({ tmux: () => Promise.reject(new Error('/home/me/secret')) })
  expect(await dead.health('all')).toEqual({
    status: 'failing',
    database: 'ok',
    tmux: 'down',
    loops: 'ok',
    claims: 'ok',
    disk: 'ok',
  })
})

test('a hundred who ask within a second are one question to tmux', async () => {
  const { world, health } = start()
  await Promise.all(Array.from({ length: 100 }, () => health('tmux')))
  world.now += 999
  expect(await health('tmux')).toEqual({ status: 'ok', age_ms: 999 })
  expect(world.asked).toBe(1)
  world.tmux = false
  world.now += 1
  expect(await health('tmux')).toEqual({ status: 'failing', age_ms: 0 })
  expect(world.asked).toBe(2)
  world.now -= 100_000
  world.tmux = true
  expect(await health('tmux')).toMatchObject({ status: 'ok' })
})

test('a tmux that never answers is down, and soon said to be', async () => {
  const { health } = start({ tmux: () => new Promise(() => {}) })
  expect(await health('tmux')).toMatchObject({ status: 'failing' })
})

test('what is not configured is disabled, what is answers for itself', async () => {
  expect(await start().health('supabase')).toEqual({ status: 'disabled' })
  expect(await start({ supabase: async () => true }).health('supabase')).toEqual({ status: 'ok', age_ms: 0 })
  expect(await start({ supabase: async () => false }).health('supabase')).toMatchObject({ status: 'failing' })
})
