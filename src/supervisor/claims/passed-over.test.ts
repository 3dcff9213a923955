import { expect, test, vi } from 'vitest'
import { defaultProjectSettings } from '../../core/task/project.ts'
import type { Queue } from '../../core/task/queue.ts'
import type { Task } from '../../core/task/task.ts'
import type { Project } from '../../store/projects.ts'
import { createPassedOver } from './passed-over.ts'

const task = (id: string, more: Partial<Task> = {}) =>
  ({ id, project: 'a', model: null, inPlace: null, ...more }) as Task
const project = (name: string, inPlace: boolean): Project => ({
  ...defaultProjectSettings(),
  name,
  dir: `/${name}`,
  trusted: true,
  inPlace,
  createdAt: 1,
})

function prepare(tasks: Task[], more: Partial<Parameters<typeof createPassedOver>[0]> = {}) {
  const list = vi.fn<Queue['list']>(async () => tasks)
  const projects = [project('a', true), project('b', false)]
  const passedOver = createPassedOver({
    queue: { list },
    projects: { list: () => projects, byName: (name) => projects.find((one) => one.name === name) ?? null },
    isShared: false,
    worksInPlace: (one, { inPlace }) => inPlace ?? one.inPlace,
    holderOf: () => null,
    isLimited: () => false,
    limitedUntil: () => null,
    ...more,
  })
  return { passedOver, list }
}

test('a task whose directory another one has is passed over; one with a tree of its own is not', async () => {
  const { passedOver } = prepare([task('t1'), task('t2', { inPlace: false }), task('t3', { project: 'b' })], {
    holderOf: (dir) => (dir === '/a' ? 't0' : null),
  })
  expect(await passedOver()).toEqual({ except: ['t1'], busy: [], oneByOne: false })
})

test('a task that has its directory itself may go on there', async () => {
  const { passedOver } = prepare([task('t1')], { holderOf: (_dir, id) => (id === 't1' ? null : 't1') })
  expect((await passedOver()).except).toEqual([])
})

test('two tasks for one directory are claimed one after the other', async () => {
  const { passedOver } = prepare([task('t1'), task('t2')])
  expect(await passedOver()).toEqual({ except: [], busy: [], oneByOne: true })
})

test('a task that its model keeps holds up nobody else in its directory', async () => {
  const { passedOver } = prepare([task('t1', { model: 'opus' }), task('t2')], {
    isLimited: () => true,
    limitedUntil: ({ model }) => (model === 'opus' ? 9 : null),
  })
  expect(await passedOver()).toEqual({ except: ['t1'], busy: [], oneByOne: false })
})

test.each([false, true])(
  'a task whose model has reached its limit is passed over, in a shared queue too: %s',
  async (isShared) => {
    const tasks = [task('t1', { model: 'opus', project: 'b' }), task('t2', { project: 'b' })]
    const { passedOver } = prepare(tasks, {
      isShared,
      isLimited: () => true,
      limitedUntil: ({ model }) => (model === 'opus' ? 9 : null),
    })
    expect((await passedOver()).except).toEqual(['t1'])
  },
)

test('of a shared queue projects that work in place are left as a whole, and no task is listed for it', async () => {
  const { passedOver, list } = prepare([task('t1')], { isShared: true, holderOf: () => 't0' })
  expect(await passedOver()).toEqual({ except: [], busy: ['a'], oneByOne: false })
  expect(list).not.toHaveBeenCalled()
})
