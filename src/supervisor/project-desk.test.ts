import { PLAIN_TASK } from '../core/task/task.ts'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
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
  const desk = createProjectDesk({ queue, projects, logger: pino({ level: 'silent' }) })
  return { queue, projects, register, add, claimed, desk }
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
  await desk.tellAll()
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
