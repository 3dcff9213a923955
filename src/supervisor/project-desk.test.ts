import type { Attempt } from '../core/agent/attempt.ts'
import type { ProjectLimits } from '../core/task/queue.ts'
import { PLAIN_TASK, type Task } from '../core/task/task.ts'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import { CcmError } from '../core/errors.ts'
import { defaultProjectSettings } from '../core/task/project.ts'
import { createSqliteQueue } from '../queue/sqlite.ts'
import { createProjects } from '../store/projects.ts'
import { openForTest, temporaryHome } from '../store/temporary-database.ts'
import { createProjectDesk } from './project-desk.ts'

async function prepare() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const queue = createSqliteQueue({ db, system: 's', worker: 'w', clock: () => 1000, random: () => 0.5 })
  await queue.register()
  const projects = createProjects(db)
  const register = () =>
    projects.add({ name: 'app', dir: '/app', trusted: true, createdAt: 0, ...defaultProjectSettings() })
  register()
  const add = async () => {
    const { task } = await queue.insert({
      project: 'app',
      prompt: 'x',
      ...PLAIN_TASK,
      source: 'api',
    })
    return task.id
  }
  const claimed = async () => (await queue.claim(10, { projects: ['app'], roles: null, labels: [] })).length
  const own: Pick<Attempt, 'taskId'>[] = []
  const attempts = { openOnes: () => own as Attempt[] }
  const logger = pino({ level: 'silent' })
  const desk = createProjectDesk({ queue, projects, attempts, logger })
  return { queue, projects, attempts, logger, own, register, add, claimed, desk }
}

test('a paused project and one at its limit are not claimed from, and a change counts at once', async () => {
  const { desk, add, claimed } = await prepare()
  await add()
  await add()
  await desk.update('app', { paused: true })
  expect(await claimed()).toBe(0)
  await desk.update('app', { paused: false, maxRunning: 1 })
  expect(await claimed()).toBe(1)
  await desk.update('app', { maxRunning: null })
  expect(await claimed()).toBe(1)
})

test('a change that a crash kept from the queue is told at the next start', async () => {
  const { desk, projects, add, claimed } = await prepare()
  await add()
  projects.update('app', { paused: true })
  await desk.begin()
  expect(await claimed()).toBe(0)
})

test('a project with living tasks stays; the next one of that name starts without its limits', async () => {
  const { desk, queue, projects, register, add, claimed } = await prepare()
  await desk.update('app', { paused: true })
  const id = await add()
  await expect(desk.remove('app')).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining(id),
  })
  await queue.cancel(id, '')
  expect((await desk.remove('app'))?.name).toBe('app')
  expect(projects.list()).toEqual([])
  expect(await desk.remove('app')).toBeNull()
  register()
  await add()
  expect(await claimed()).toBe(1)
})

describe('a queue that is shared', () => {
  async function share() {
    const all = await prepare()
    const set: ProjectLimits[] = []
    const heard: ProjectLimits[] = []
    let away = false
    const reach = <T>(value: T): T => {
      if (away) throw new CcmError('SUPABASE_UNREACHABLE', 'Supabase does not answer.')
      return value
    }
    /** As a daemon that begins. */
    const desk = () =>
      createProjectDesk({
        ...all,
        queue: {
          ...all.queue,
          list: () => Promise.reject(new Error('the queue need not be asked')),
          configureProject: async (limits) => {
            reach(null)
            heard.push(limits)
            set.splice(0, 1, limits)
          },
        },
        shared: {
          describe: async () => reach(undefined),
          limits: async () => reach([...set]),
          claimed: () => ({ project: 'app' }) as Task,
        },
      })
    return { ...all, set, heard, desk, leave: (is: boolean) => void (away = is) }
  }

  test('what was set elsewhere counts here, and a daemon that begins leaves it', async () => {
    const { projects, set, heard, desk } = await share()
    set.push({ name: 'app', maxRunning: 3, paused: true }, { name: 'other', maxRunning: 1, paused: true })
    const first = desk()
    await first.begin()
    expect(projects.byName('app')).toMatchObject({ maxRunning: 3, paused: true })
    expect(projects.list()).toHaveLength(1)
    expect(heard).toEqual([])
    await first.close()
  })

  test('what was set here in an outage is told by the next daemon, before it takes over what is set elsewhere', async () => {
    const { projects, set, heard, desk, leave } = await share()
    set.push({ name: 'app', maxRunning: 3, paused: false })
    const first = desk()
    await first.begin()
    leave(true)
    await first.update('app', { paused: true })
    await first.close()
    await expect(desk().begin()).rejects.toThrow('does not answer')
    leave(false)
    const third = desk()
    await third.begin()
    await third.close()
    expect(heard).toEqual([{ name: 'app', maxRunning: 3, paused: true }])
    expect(projects.byName('app')).toMatchObject({ maxRunning: 3, paused: true })
    expect(projects.owedLimits()).toEqual([])
  })

  test('of two limits the one that is not changed here stays as it was set elsewhere a moment ago', async () => {
    const { set, heard, desk } = await share()
    const here = desk()
    set.push({ name: 'app', maxRunning: null, paused: false })
    await here.begin()
    set.splice(0, 1, { name: 'app', maxRunning: 3, paused: false })
    await here.update('app', { paused: true })
    await here.close()
    expect(heard).toEqual([{ name: 'app', maxRunning: 3, paused: true }])
  })

  test('a change here while limits are read is not overwritten by what was read', async () => {
    const { projects } = await share()
    const [seen] = projects.list()
    projects.update('app', { paused: true })
    projects.toldLimits({ name: 'app', maxRunning: null, paused: true })
    if (seen === undefined) throw new Error('no project')
    expect(projects.takeLimits(seen, { name: 'app', maxRunning: 9, paused: false })).toBe(false)
    expect(projects.byName('app')).toMatchObject({ maxRunning: null, paused: true })
  })

  test('a machine may leave a project that others go on with, but not while its own tasks run; its limits stay', async () => {
    const { projects, own, heard, desk } = await share()
    const here = desk()
    own.push({ taskId: 't1' })
    await expect(here.remove('app')).rejects.toMatchObject({ message: expect.stringContaining('t1') })
    own.pop()
    expect((await here.remove('app'))?.name).toBe('app')
    expect(projects.list()).toEqual([])
    expect(heard).toEqual([])
    await here.close()
  })
})
