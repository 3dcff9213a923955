import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { newTask } from '../../../test/queue/bench.ts'
import { CcmError } from '../../core/errors.ts'
import type { Task } from '../../core/task/task.ts'
import { createSqliteQueue } from '../../queue/sqlite.ts'
import { createIncidents } from '../../store/incidents.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createRecorder } from './recorder.ts'
import { createTaskWatch } from './task-watch.ts'

/** A queue with two workers, and what went wrong at the first one. */
async function start() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const queueOf = (worker: string) =>
    createSqliteQueue({ db, system: 's', worker, clock: () => 1000, random: () => 0.5 })
  const [queue, other] = [queueOf('one'), queueOf('two')]
  for (const each of [queue, other]) await each.register()
  const incidents = createIncidents(db)
  const recorder = createRecorder({
    incidents,
    notifiers: [],
    clock: () => 1000,
    logger: pino({ level: 'silent' }),
    nudge: () => undefined,
  })
  const crashed = (taskId: string) =>
    recorder.open({ kind: 'agent_failed', key: `task:${taskId}`, what: 'It ended.', action: '', taskId })
  const add = async (project: string) => {
    const { task } = await queue.insert({ ...newTask(), project })
    crashed(task.id)
    return task.id
  }
  const look = (taskOf: (id: string) => Promise<Task | null> = queue.get) =>
    createTaskWatch({ incidents, recorder, taskOf, isRunning: (id) => id === 'runs', worker: 'one' })
  const open = () => incidents.openOnes().map(({ taskId }) => taskId)
  return { queue, other, recorder, incidents, crashed, add, look, open }
}

test('what was wrong with a task is over once no agent of ours can follow', async () => {
  const { queue, other, crashed, add, look, open, incidents } = await start()
  const waits = await add('app')
  const cancelled = await add('app')
  const taken = await add('other')
  crashed('gone')
  crashed('runs')
  await queue.cancel(cancelled, '')
  await other.claim(1, { projects: ['other'], roles: null, labels: [] })
  const again = look()
  for (let looks = 0; looks < 5; looks++) await again()
  expect(open()).toEqual([waits, 'runs'])
  const closed = incidents.list({ limit: 9, open: false }).filter(({ closedAt }) => closedAt !== null)
  expect(closed.map(({ taskId, action }) => [taskId, action])).toEqual([
    ['gone', 'Its task is gone.'],
    [taken, 'Another worker has its task.'],
    [cancelled, 'Its task is over: cancelled.'],
  ])
  await queue.claim(1, { projects: ['app'], roles: null, labels: [] })
  await again()
  expect(open()).toEqual([waits, 'runs'])
})

test('while the queue is away what was wrong stays; another fault of it is told', async () => {
  const { add, look, open } = await start()
  const id = await add('app')
  await look(() => Promise.reject(new CcmError('SUPABASE_UNREACHABLE', 'Away.')))()
  await expect(look(() => Promise.reject(new Error('broken')))()).rejects.toThrow('broken')
  expect(open()).toEqual([id])
})
