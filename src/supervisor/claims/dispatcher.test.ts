import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { CcmError } from '../../core/errors.ts'
import type { ClaimFilter, Queue } from '../../core/task/queue.ts'
import type { Task } from '../../core/task/task.ts'
import { createDispatcher } from './dispatcher.ts'

type Options = Parameters<typeof createDispatcher>[0]

/** A queue of task names; `asked` holds what each claim asked for. */
function prepare(names: string[], more: Partial<Options> = {}) {
  const queued = [...names]
  const asked: number[] = []
  const started: string[] = []
  const order: string[] = []
  const queue = {
    reap: async () => (order.push('reap'), []),
    count: async () => queued.length,
    claim: async (limit: number, filter: ClaimFilter) => {
      order.push('claim')
      asked.push(limit)
      expect(filter).toEqual({ projects: ['app'], roles: null, labels: [] })
      return queued.splice(0, limit).map((id) => ({ id }) as Task)
    },
  } as Partial<Queue> as Queue
  const dispatcher = createDispatcher({
    queue,
    renew: async () => void order.push('renew'),
    filter: async () => ({ projects: ['app'], roles: null, labels: [] }),
    gate: (projects) => ({ allow: 'all', free: projects, probes: [] }),
    claimed: () => {},
    occupied: () => started.length,
    starting: () => 0,
    maxConcurrent: () => 3,
    minFreeMemoryMb: () => 1000,
    ready: async () => {},
    onReaped: () => {},
    start: (task) => void started.push(task.id),
    sweepMs: 60_000,
    clock: () => 0,
    logger: pino({ level: 'silent' }),
    freeMemoryMb: () => 100_000,
    ...more,
  })
  onTestFinished(() => dispatcher.close())
  const look = async () => {
    dispatcher.nudge()
    // Any number of nudges is one look; its end is seen by a second, empty one.
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { dispatcher, asked, started, order, queued, look }
}

test('as many tasks are claimed as there are free slots, and the rest waits with the reason', async () => {
  const { dispatcher, started, queued, look } = prepare(['a', 'b', 'c', 'd'])
  await look()
  expect(started).toEqual(['a', 'b', 'c'])
  await look()
  expect(queued).toEqual(['d'])
  expect(dispatcher.holds()).toEqual([{ kind: 'slots', sentence: 'All 3 agents are busy.', until: null }])
  started.length = 0
  await look()
  expect(started).toEqual(['d'])
  expect(dispatcher.holds()).toEqual([])
})

test('what was claimed is begun also where its claim cannot be counted', async () => {
  const claimed = () => {
    throw new CcmError('DISK_FULL', 'The disk is full.')
  }
  const { started, look } = prepare(['a', 'b'], { claimed })
  await look()
  expect(started).toEqual(['a', 'b'])
})

test('our own leases are renewed before expired ones are taken back, and both before a claim', async () => {
  const { order, look } = prepare(['a'])
  await look()
  expect(order.slice(0, 3)).toEqual(['renew', 'reap', 'claim'])
})

test.each([
  { free: 1249, claims: [] },
  { free: 1250, claims: [1] },
  { free: 1749, claims: [2] },
  { free: 9999, claims: [3] },
])('with $free MiB free, 1000 to keep and 3 slots, claims ask for $claims', async ({ free, claims }) => {
  const { dispatcher, asked, look } = prepare(['a'], { freeMemoryMb: () => free })
  await look()
  expect(asked).toEqual(claims)
  const sentence = 'A further agent would leave less than 1000 MiB of memory free.'
  expect(dispatcher.holds().some((hold) => hold.sentence === sentence)).toBe(claims.length === 0)
})

test.each([
  [0, 800],
  [1, 1000],
])('a far queue is swept after 0.8 to 1 of the time, and a nudge asks for work only', async (random, ms) => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const { dispatcher, order } = prepare(['a', 'b'], {
    isShared: true,
    sweepMs: 1000,
    random: () => random,
    maxConcurrent: () => 9,
  })
  await vi.advanceTimersByTimeAsync(ms - 1)
  expect(order).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect(order).toEqual(['renew', 'reap', 'claim'])
  dispatcher.nudge()
  await vi.advanceTimersByTimeAsync(1)
  expect(order.slice(3)).toEqual(['claim'])
  await vi.advanceTimersByTimeAsync(ms)
  expect(order.slice(4)).toEqual(['renew', 'reap', 'claim'])
})

test('agents whose memory is not taken yet count as if it were', async () => {
  const { asked, look } = prepare(['a'], { freeMemoryMb: () => 1500, starting: () => 2 })
  await look()
  expect(asked).toEqual([])
})

test.each([
  {
    error: new CcmError('CLAUDE_TOO_OLD', 'It is old.', { remedy: 'Update it.' }),
    kind: 'claude',
    says: 'It is old. Update it.',
  },
  { error: new CcmError('TMUX_FAILED', 'It is gone.'), kind: 'tmux', says: 'It is gone.' },
  { error: new Error('odd'), kind: 'claude', says: 'odd' },
])(
  'what keeps agents from starting ($kind: $says) holds the tasks and is looked at again',
  async ({ error, kind, says }) => {
    let now = 0
    let broken = true
    const { dispatcher, started, look } = prepare(['a'], {
      clock: () => now,
      ready: async () => {
        if (broken) throw error
      },
    })
    await look()
    expect(started).toEqual([])
    expect(dispatcher.holds()).toEqual([{ kind, sentence: says, until: 60_000 }])
    broken = false
    await look()
    expect(started).toEqual([])
    now = 60_000
    await look()
    expect(started).toEqual(['a'])
    expect(dispatcher.holds()).toEqual([])
  },
)

test('with nothing queued nobody is asked whether Claude Code runs', async () => {
  let asked = 0
  const { look } = prepare([], { ready: async () => void asked++ })
  await look()
  expect(asked).toBe(0)
})

test('what keeps agents from starting is looked at again also where the clock was set back', async () => {
  let now = 1_000_000
  let isMissing = true
  const { started, look } = prepare(['a'], {
    clock: () => now,
    ready: async () => {
      if (isMissing) throw new CcmError('CLAUDE_MISSING', 'It is gone.')
    },
  })
  await look()
  isMissing = false
  await look()
  expect(started).toEqual([])
  now -= 3_600_000
  await look()
  expect(started).toEqual(['a'])
})

test('a hold keeps everything queued until it is lifted', async () => {
  const { dispatcher, started, look } = prepare(['a'])
  dispatcher.hold({ kind: 'login', sentence: 'Log in.', until: null })
  await look()
  expect(started).toEqual([])
  dispatcher.lift('other')
  dispatcher.lift('login')
  await look()
  expect(started).toEqual(['a'])
})

test('before a start is over no lease is taken back: those of agents that live are not renewed yet', async () => {
  const { dispatcher, order, look } = prepare(['a'])
  dispatcher.hold({ kind: 'starting', sentence: 'The daemon is starting.', until: null })
  await look()
  expect(order).toEqual([])
  dispatcher.lift('starting')
  await look()
  expect(order.slice(0, 3)).toEqual(['renew', 'reap', 'claim'])
})

test('of two holds of a kind the one that ends later counts, and one without an end before all', () => {
  const { dispatcher } = prepare([], { sweepMs: 1000 })
  const until = () => dispatcher.holds().map((hold) => hold.until)
  for (const end of [500, 900, 700]) dispatcher.hold({ kind: 'limit', sentence: '', until: end })
  expect(until()).toEqual([900])
  dispatcher.hold({ kind: 'limit', sentence: '', until: null })
  expect(until()).toEqual([null])
})

test.each([
  { gate: { allow: 'none', free: ['app'], probes: ['odd'] }, claims: [] },
  { gate: { allow: 'probe', free: ['app'], probes: ['odd'] }, claims: ['1 of app, odd'] },
  { gate: { allow: 'all', free: ['app'], probes: ['odd'] }, claims: ['1 of odd', '2 of app'] },
] as const)('where $gate.allow may be begun it is claimed: $claims', async ({ gate, claims }) => {
  const asked: string[] = []
  const queue = {
    reap: async () => [],
    count: async () => 9,
    claim: async (limit: number, { projects }: ClaimFilter) => {
      asked.push(`${limit} of ${projects.join(', ')}`)
      return asked.length === 1 ? [{ id: 'probe' } as Task] : []
    },
  } as Partial<Queue> as Queue
  const { look } = prepare([], {
    queue,
    gate: () => ({ ...gate, free: [...gate.free], probes: [...gate.probes] }),
  })
  await look()
  expect(asked).toEqual(claims)
})

test('where each claim changes what may be claimed next they are claimed one by one', async () => {
  const filter = async () => ({ projects: ['app'], roles: null, labels: [], oneByOne: true })
  const { asked, started, look } = prepare(['a', 'b'], { filter })
  await look()
  expect(started).toEqual(['a', 'b'])
  expect(asked).toEqual([1, 1])
})

test('a store that fails for a moment costs one look', async () => {
  let fails = true
  const { started, look } = prepare(['a'], {
    renew: async () => {
      if (fails) throw new Error('disk full')
    },
  })
  await look()
  expect(started).toEqual([])
  fails = false
  await look()
  expect(started).toEqual(['a'])
})

test('after closing nothing is claimed', async () => {
  const { dispatcher, started, look } = prepare(['a'])
  await dispatcher.close()
  await look()
  expect(started).toEqual([])
})
