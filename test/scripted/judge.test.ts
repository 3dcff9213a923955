import { expect, test } from 'vitest'
import { judge, type Remains } from './judge.ts'
import type { Entry } from './ledger.ts'

type Line = Entry extends infer T
  ? T extends Entry
    ? Omit<T, 'at' | 'pid'> & { pid?: number }
    : never
  : never

/** Lines a millisecond apart, in this order. */
const ledger = (...lines: Line[]): Entry[] => lines.map((line, at) => ({ pid: line.attempt, ...line, at }))
const right: Remains = {
  accepted: [{ id: 'a', at: -5 }],
  lost: [],
  tasks: [{ id: 'a', status: 'succeeded' }],
  events: [1, 2].map((seq) => ({ task: 'a', attempt: 1, seq })),
  openAttempts: 0,
  undelivered: 0,
  integrity: 'ok',
  processes: [],
}
const of = (attempt: number) => ({ task: 'a', attempt })
const run: Line[] = [
  { ...of(1), kind: 'start', resumed: false },
  { ...of(1), kind: 'sending', seq: 1, name: 'SessionStart' },
  { ...of(1), kind: 'sent', seq: 1, name: 'SessionStart' },
  { ...of(1), kind: 'sending', seq: 2, name: 'Stop' },
  { ...of(1), kind: 'sent', seq: 2, name: 'Stop' },
  { ...of(1), kind: 'outcome', outcome: 'done' },
  { ...of(1), kind: 'end' },
]

test('a run in which everything is right has no faults', () => {
  expect(judge(ledger(...run), right)).toEqual([])
})

test.each<[string, Line[], Partial<Remains>, RegExp]>([
  [
    'a task that is not over',
    run.slice(0, 5),
    { tasks: [{ id: 'a', status: 'running' }] },
    /task a is running/,
  ],
  ['a task that is gone', run, { accepted: [], tasks: [] }, /task a is gone/],
  ['a success that no agent told', run.slice(0, 5), {}, /no agent said so/],
  [
    'a success that was not taken',
    run,
    { tasks: [{ id: 'a', status: 'failed' }] },
    /is failed, and an agent said/,
  ],
  [
    'two successes',
    [...run, { ...of(2), kind: 'start', resumed: true }, { ...of(2), kind: 'outcome', outcome: 'done' }],
    {},
    /succeeded 2 times/,
  ],
  [
    'two agents at once',
    [
      { ...of(1), kind: 'start', resumed: false },
      { ...of(2), kind: 'start', resumed: false },
      ...run.slice(1),
    ],
    {},
    /attempts 1 and 2 overlap/,
  ],
  [
    'two agents of one attempt',
    [{ ...of(1), kind: 'start', resumed: false, pid: 9 }, ...run],
    {},
    /2 agents were started/,
  ],
  ['a held lock', [...run, { ...of(1), kind: 'lock_failed', holder: '9 1' }], {}, /lock was held by 9 1/],
  ['an event that was lost', run, { events: right.events.slice(1) }, /events 1 were sent and are not stored/],
  [
    'an event of nobody',
    run,
    { events: [...right.events, { ...of(1), seq: 3 }] },
    /3 are stored and were never sent/,
  ],
  ['an event stored twice', run, { events: [...right.events, { ...of(1), seq: 2 }] }, /stored twice/],
  ['events out of order', run, { events: right.events.toReversed() }, /out of order/],
  ['an open attempt', run, { openAttempts: 1 }, /1 attempts are open/],
  ['an outcome that waits', run, { undelivered: 2 }, /2 outcomes were not delivered/],
  ['a damaged database', run, { integrity: 'row 3 missing' }, /damaged: row 3 missing/],
  ['a process that stayed', run, { processes: [42] }, /processes are left: 42/],
])('%s is found', (_, lines, more, sentence) => {
  const faults = judge(ledger(...lines), { ...right, ...more })
  expect(faults.join('\n')).toMatch(sentence)
  expect(faults).toHaveLength(1)
})

test('what was sent to a disk in trouble may be missing, where the record counts it as lost', () => {
  const remains = { ...right, events: right.events.slice(1), lost: [{ ...of(1), count: 1 }] }
  const in2 = { troubles: [{ from: 2, until: 2 }] }
  expect(judge(ledger(...run), remains, [], in2)).toEqual([])
  expect(judge(ledger(...run), remains).join()).toMatch(/events 1 were sent/)
  expect(judge(ledger(...run), { ...remains, lost: [] }, [], in2).join()).toMatch(
    /events 1 .* 0 count as lost/,
  )
  const later = { troubles: [{ from: 3, until: 9 }] }
  expect(judge(ledger(...run), remains, [], later).join()).toMatch(/events 1 were sent/)
})

test('what was accepted before the database was destroyed may be gone, but not run twice', () => {
  const gone = { ...right, tasks: [], events: [] }
  expect(judge(ledger(...run), gone, [], { destroyedAt: 0 })).toEqual([])
  expect(judge(ledger(...run), gone, [], { destroyedAt: -6 }).join()).toMatch(
    /task a was accepted and is gone/,
  )
  const twice: Line[] = [...run.slice(0, 1), { ...of(2), kind: 'start', resumed: false }, ...run.slice(1)]
  expect(judge(ledger(...twice), gone, [], { destroyedAt: 0 }).join()).toMatch(/attempts 1 and 2 overlap/)
})
