import { array, assert, asyncProperty, constant, constantFrom, integer, nat, oneof, record } from 'fast-check'
import type { Arbitrary } from 'fast-check'
import { expect, test } from 'vitest'
import type { Outcome } from '../../src/core/task/queue.ts'
import { GRACE_MS, LEASE_MS, type QueueStore } from './bench.ts'
import { PROJECTS, playHistory, type Step } from './history.ts'

const OUTCOMES: Outcome[] = [
  'succeeded',
  'failed',
  'failed',
  'failed',
  'failed',
  'failed_permanent',
  'released',
  'cancelled',
]

function anyStep(): Arbitrary<Step> {
  // Mostly the newest ones, and failures: else no task lives long enough for a third failure or lost lease.
  const who = oneof(nat(1), nat(30))
  const which = oneof(nat(1), nat(30))
  const insert = record({
    do: constant('insert' as const),
    who,
    project: constantFrom(...PROJECTS),
    priority: integer({ min: -1, max: 1 }),
    dedupeKey: constantFrom(null, null, 'k' as const),
    after: oneof(
      { weight: 2, arbitrary: constant<number[]>([]) },
      { weight: 1, arbitrary: array(nat(6), { maxLength: 3 }) },
    ),
    delayMs: constantFrom(-1, 0, 0, 40_000),
    labels: constantFrom<string[][]>([], [], [], ['gpu']),
    onlyWorker: constantFrom(null, null, null, 'b'),
  })
  const claim = record({
    do: constant('claim' as const),
    who,
    limit: integer({ min: 1, max: 4 }),
    labels: constantFrom<string[][]>([], ['gpu']),
  })
  const heartbeat = record({ do: constant('heartbeat' as const), who, which })
  const finish = record({
    do: constant('finish' as const),
    who,
    which,
    outcome: constantFrom(...OUTCOMES),
    retryAfterMs: constantFrom(null, 0),
    resumes: constantFrom(false, false, true),
  })
  const resend = record({ do: constant('resend' as const), which })
  const cancel = record({ do: constant('cancel' as const), who, which })
  const ms = constantFrom(1, 30_000, LEASE_MS, LEASE_MS + GRACE_MS, 8 * 86_400_000)
  const advance = record({ do: constant('advance' as const), ms })
  const reap = record({ do: constant('reap' as const), who })
  const restart = record({ do: constant('restart' as const), worker: constantFrom('a', 'b') })
  const retry = record({ do: constant('retry' as const), who, which })
  const configure = record({
    do: constant('configure' as const),
    who,
    project: constantFrom(...PROJECTS),
    maxRunning: constantFrom(null, 1, 2),
    paused: constantFrom(false, false, true),
  })
  const olderThanMs = constantFrom(0, 1, 60_000, 8 * 86_400_000)
  const prune = record({ do: constant('prune' as const), who, olderThanMs })
  return oneof(
    { weight: 3, arbitrary: insert },
    { weight: 5, arbitrary: claim },
    { weight: 2, arbitrary: heartbeat },
    { weight: 5, arbitrary: finish },
    { weight: 1, arbitrary: resend },
    { weight: 1, arbitrary: cancel },
    { weight: 3, arbitrary: advance },
    { weight: 3, arbitrary: reap },
    { weight: 1, arbitrary: restart },
    { weight: 2, arbitrary: retry },
    { weight: 1, arbitrary: configure },
    { weight: 1, arbitrary: prune },
  )
}

/** `runs` random histories of two workers with crashes and restarts, as one test; a failure prints the shortest one. */
export function queueInterleavings(name: string, open: () => Promise<QueueStore>, runs = 200): void {
  test(`${name}: no interleaving breaks a promise`, { timeout: 120_000 }, async () => {
    let played = 0
    const property = asyncProperty(array(anyStep(), { minLength: 30, maxLength: 80 }), async (steps) => {
      const store = await open()
      try {
        await playHistory(store, steps)
        played += 1
      } finally {
        await store.close()
      }
    })
    await assert(property, { numRuns: runs })
    expect(played).toBe(runs)
  })
}
