import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { CcmError } from '../../core/errors.ts'
import type { InboxEntry, NewInboxEntry } from '../../core/outside/inbox.ts'
import type { NewTask, Task } from '../../core/task/task.ts'
import { createSqliteQueue } from '../../queue/sqlite.ts'
import { createInboxStore } from '../../store/inbox.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createInbox } from './inbox.ts'

const TASK: NewInboxEntry['task'] = {
  prompt: 'Look at it.',
  role: null,
  model: null,
  priority: null,
  timeoutS: null,
  permissionMode: null,
  allowedTools: [],
  disallowedTools: [],
  scheduledAt: null,
  labels: [],
  maxTokens: null,
  maxCostUsd: null,
  inPlace: null,
  source: 'github',
}

function entry(key: string, changes: Partial<NewInboxEntry> = {}): NewInboxEntry {
  return {
    key,
    source: 'github',
    project: 'app',
    state: 'pending',
    title: `About ${key}`,
    sender: 'octocat',
    task: TASK,
    origin: { kind: 'github', repository: 'octo/app', number: 5 },
    reason: null,
    ...changes,
  }
}

const AWAY = new CcmError('SUPABASE_UNREACHABLE', 'Supabase is away.')

/** A daemon's inbox on a real database and queue; `next` is the daemon after it. */
function stage() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const store = createInboxStore(db)
  const state = { now: 1_000_000, fault: null as Error | null, crash: false, away: false }
  const queue = createSqliteQueue({ db, system: 's', worker: 'w', clock: () => state.now, random: () => 0.5 })
  const asked: string[] = []
  /** Cancels that the queue hears of when it is back. */
  const noted: string[] = []
  let settled = 0
  const insert = async ({ key, project, task }: InboxEntry): Promise<Task> => {
    asked.push(key)
    if (state.fault !== null) throw state.fault
    const request: NewTask = {
      ...task,
      project,
      priority: 0,
      dedupeKey: key,
      dependsOn: [],
      onlyWorker: null,
    }
    const inserted = await queue.insert(request)
    if (state.crash) throw new Error('killed before it was noted')
    return inserted.task
  }
  const start = () => {
    const inbox = createInbox({
      store,
      queue: { ...queue, get: async (id) => (state.away ? Promise.reject(AWAY) : queue.get(id)) },
      insert,
      cancel: async (id, reason) => {
        if (!state.away) return queue.cancel(id, reason)
        noted.push(id)
        return 'requested'
      },
      onSettled: () => (settled += 1),
      clock: () => state.now,
      random: () => 0.5,
      logger: pino({ level: 'silent' }),
    })
    onTestFinished(() => inbox.close())
    return inbox
  }
  return { store, queue, state, asked, noted, start, settled: () => settled }
}

test('what is accepted becomes a task in the order of arrival, once, whatever is delivered again', async () => {
  const { store, queue, start, settled } = stage()
  const inbox = start()
  expect(inbox.accept([entry('gh:1'), entry('gh:2')]).map(({ isNew }) => isNew)).toEqual([true, true])
  expect(
    inbox.accept([entry('gh:2', { title: 'another' }), entry('gh:3')]).map(({ isNew }) => isNew),
  ).toEqual([false, true])
  await inbox.begin()
  const tasks = (await queue.list({ limit: 10 })).toReversed()
  expect(tasks.map(({ dedupeKey }) => dedupeKey)).toEqual(['gh:1', 'gh:2', 'gh:3'])
  expect(store.list({ state: 'inserted', limit: 10 }).map(({ taskId }) => taskId)).toEqual(
    tasks.map(({ id }) => id).toReversed(),
  )
  expect(store.byKey('gh:2')?.title).toBe('About gh:2')
  expect(settled()).toBe(3)
})

test('while the queue is away everything waits in its order, and nothing is lost', async () => {
  const { store, state, asked, start } = stage()
  state.fault = new CcmError('SUPABASE_UNREACHABLE', 'Supabase is away.')
  const inbox = start()
  inbox.accept([entry('gh:1'), entry('gh:2')])
  await inbox.begin()
  expect(asked).toEqual(['gh:1'])
  expect(store.byKey('gh:1')).toMatchObject({ state: 'pending', tries: 1, reason: 'Supabase is away.' })
  // Not before its time, and no later one before it.
  await inbox.begin()
  expect(asked).toEqual(['gh:1'])
  state.now += 5_000
  await inbox.begin()
  expect(asked).toEqual(['gh:1', 'gh:1'])
  expect(store.byKey('gh:1')?.dueAt).toBe(state.now + 10_000)
  state.fault = null
  state.now += 10_000
  await inbox.begin()
  expect(asked).toEqual(['gh:1', 'gh:1', 'gh:1', 'gh:2'])
  expect(store.list({ state: 'inserted', limit: 10 })).toHaveLength(2)
})

test('what no queue will ever take is refused with the reason, and the next one goes on', async () => {
  const { store, state, start } = stage()
  state.fault = new CcmError('NOT_FOUND', 'There is no project "app".')
  const inbox = start()
  inbox.accept([entry('gh:1')])
  await inbox.begin()
  expect(store.byKey('gh:1')).toMatchObject({ state: 'refused', reason: 'There is no project "app".' })
})

test('a daemon killed between the insert and its note adds no second task, though the first is over', async () => {
  const { store, queue, state, start } = stage()
  state.crash = true
  const killed = start()
  killed.accept([entry('gh:1')])
  await killed.begin()
  await killed.close()
  const [first] = await queue.list({ limit: 10 })
  await queue.cancel(first?.id ?? '', 'It is over.')
  state.crash = false
  state.now += 60_000
  await start().begin()
  expect((await queue.list({ limit: 10 })).map(({ id }) => id)).toEqual([first?.id])
  expect(store.byKey('gh:1')).toMatchObject({ state: 'inserted', taskId: first?.id })
})

test('one from a stranger waits until a person decides, and is decided once', async () => {
  const { store, queue, start } = stage()
  const inbox = start()
  inbox.accept([
    entry('gh:1', { state: 'waiting', reason: 'mallory is a stranger.' }),
    entry('gh:2', { state: 'waiting' }),
  ])
  await inbox.begin()
  expect(await queue.list({ limit: 10 })).toEqual([])
  const [two, one] = store.list({ state: 'waiting', limit: 10 })
  expect(inbox.approve(one?.id ?? 0, 'local')).toMatchObject({ state: 'pending', decidedBy: 'local' })
  await inbox.begin()
  expect((await queue.list({ limit: 10 })).map(({ dedupeKey }) => dedupeKey)).toEqual(['gh:1'])
  expect(await inbox.refuse(two?.id ?? 0, 'key 7', 'No.')).toMatchObject({ state: 'refused', reason: 'No.' })
  for (const id of [one?.id ?? 0, two?.id ?? 0]) {
    expect(() => inbox.approve(id, 'local')).toThrow(expect.objectContaining({ code: 'CONFLICT' }))
    await expect(inbox.refuse(id, 'local', 'No.')).rejects.toMatchObject({ code: 'CONFLICT' })
  }
  expect(inbox.approve(99, 'local')).toBeNull()
})

test('a key is known until its task is over, and for more than a week after that', async () => {
  const { store, queue, state, start } = stage()
  const inbox = start()
  inbox.accept([entry('gh:1'), entry('gh:2', { state: 'waiting' }), entry('gh:3', { state: 'waiting' })])
  await inbox.begin()
  const { id, taskId } = store.byKey('gh:1') ?? { id: 0, taskId: null }
  await inbox.refuse(store.byKey('gh:3')?.id ?? 0, 'local', 'No.')
  for (const key of ['gh:1', 'gh:3']) store.told(store.byKey(key)?.id ?? 0, 'done', null)
  const look = (days: number) => {
    state.now += days * 86_400_000
    inbox.nudge()
    // Longer than a look takes.
    return sleep(100)
  }
  const keys = () => store.list({ state: null, limit: 10 }).map(({ key }) => key)
  await look(7)
  expect(keys()).toEqual(['gh:3', 'gh:2', 'gh:1'])
  await look(2)
  expect(keys()).toEqual(['gh:2', 'gh:1'])
  await queue.cancel(taskId ?? '', 'It is over.')
  await look(1)
  await vi.waitFor(() => expect(store.get(id)?.isOver).toBe(true))
  await look(7)
  expect(keys()).toEqual(['gh:2', 'gh:1'])
  await look(2)
  await vi.waitFor(() => expect(keys()).toEqual(['gh:2']))
})

test('what nobody approves within 30 days is refused, and whoever asked is told', async () => {
  const { store, state, start, settled } = stage()
  const inbox = start()
  inbox.accept([entry('gh:1', { state: 'waiting' })])
  state.now += 29 * 86_400_000
  inbox.accept([entry('gh:2', { state: 'waiting' })])
  await sleep(100)
  expect(store.byKey('gh:1')?.state).toBe('waiting')
  state.now += 2 * 86_400_000
  inbox.nudge()
  await vi.waitFor(() =>
    expect(store.byKey('gh:1')).toMatchObject({
      state: 'refused',
      reason: 'Nobody approved it within 30 days.',
    }),
  )
  expect(store.byKey('gh:2')?.state).toBe('waiting')
  expect(store.dueTells(state.now, 10).map(({ key }) => key)).toEqual(['gh:1'])
  expect(settled()).toBe(1)
})

test('what came from an issue is found behind a thousand others, without those that are over', async () => {
  const { store, queue, start } = stage()
  const inbox = start()
  inbox.accept([entry('gh:over'), entry('gh:1')])
  await inbox.begin()
  await queue.cancel(store.byKey('gh:over')?.taskId ?? '', 'It is over.')
  const origin = { kind: 'github', repository: 'octo/app', number: 6 } as const
  const many = Array.from({ length: 1001 }, (_, n) => entry(`gh:other-${n}`, { origin, state: 'waiting' }))
  inbox.accept([...many, entry('gh:2', { state: 'waiting' })])
  expect((await inbox.openOf('octo/app', 5)).map(({ key }) => key)).toEqual(['gh:2', 'gh:1'])
  expect(await inbox.openOf('octo/app', 6)).toHaveLength(1001)
  expect(await inbox.openOf('octo/other', 5)).toEqual([])
})

test('while the queue is away a request is ended all the same: stored here, or noted for its task', async () => {
  const { store, queue, state, noted, start } = stage()
  const inbox = start()
  inbox.accept([entry('gh:1')])
  await inbox.begin()
  const [task] = await queue.list({ limit: 10 })
  state.away = true
  state.fault = AWAY
  inbox.accept([entry('gh:2'), entry('gh:3', { state: 'waiting' })])
  await inbox.begin()
  const open = await inbox.openOf('octo/app', 5)
  expect(open.map(({ key }) => key)).toEqual(['gh:3', 'gh:2', 'gh:1'])
  expect(await Promise.all(open.map((one) => inbox.end(one, 'Enough.', true)))).toEqual([true, true, true])
  expect(noted).toEqual([task?.id])
  expect(store.list({ state: 'refused', limit: 10 }).map(({ key }) => key)).toEqual(['gh:3', 'gh:2'])
  // What may not be ended while it runs is not noted: the queue has to say that it does not.
  const [one] = open.toReversed()
  if (one === undefined) throw new Error('nothing is open')
  await expect(inbox.end(one, 'It is resolved.', false)).rejects.toBe(AWAY)
  expect(noted).toHaveLength(1)
})
