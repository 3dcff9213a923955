import { expect, test } from 'vitest'
import { defaultProjectSettings } from '../../core/task/project.ts'
import type { ProjectLimits } from '../../core/task/queue.ts'
import { limitsOf, type Project } from '../../store/projects.ts'
import { createClaimFilter } from './claim-filter.ts'
import type { PassedOver } from './passed-over.ts'

const project = (name: string, more: Partial<Project> = {}): Project => ({
  ...defaultProjectSettings(),
  name,
  dir: `/${name}`,
  trusted: true,
  createdAt: 1,
  ...more,
})

function prepare(projects: Project[], more: Partial<Parameters<typeof createClaimFilter>[0]> = {}) {
  const told: ProjectLimits[] = []
  let owed = projects
  const nothing: PassedOver = { except: [], busy: [], oneByOne: false }
  const filter = createClaimFilter({
    queue: { configureProject: async (limits) => void told.push(limits) },
    projects: {
      list: () => projects,
      owedLimits: () => owed.map(limitsOf),
      toldLimits: ({ name }) => void (owed = owed.filter((one) => one.name !== name)),
    },
    spent: () => null,
    passedOver: async () => nothing,
    takes: { roles: null, labels: [] },
    ...more,
  })
  return { filter, told }
}

test('tasks are claimed from trusted projects only', async () => {
  const { filter } = prepare([project('a'), project('b', { trusted: false })])
  expect((await filter()).projects).toEqual(['a'])
})

test('tasks are not claimed from a project that has spent its budget, nor from one whose directory is taken', async () => {
  const { filter } = prepare([project('a'), project('b'), project('c')], {
    spent: (name) => (name === 'a' ? 'It has used up its tokens of today.' : null),
    passedOver: async () => ({ except: [], busy: ['c'], oneByOne: false }),
  })
  expect((await filter()).projects).toEqual(['b'])
})

test('the queue hears of limits that were set here before tasks are claimed, and once', async () => {
  const { filter, told } = prepare([project('a', { maxRunning: 2 })])
  await filter()
  await filter()
  expect(told).toEqual([{ name: 'a', maxRunning: 2, paused: false }])
})

test('nothing is claimed under limits that the queue did not hear of, and it is told once more', async () => {
  let fails = true
  const heard: string[] = []
  const { filter } = prepare([project('a', { paused: true })], {
    queue: {
      configureProject: async ({ name }) => {
        if (fails) throw new Error('away')
        heard.push(name)
      },
    },
  })
  await expect(filter()).rejects.toThrow('away')
  fails = false
  await filter()
  expect(heard).toEqual(['a'])
})

test('a claim carries the labels and roles of the worker, and what is to be passed over', async () => {
  const { filter } = prepare([project('a')], {
    takes: { roles: ['review'], labels: ['gpu'] },
    passedOver: async () => ({ except: ['t1'], busy: [], oneByOne: true }),
  })
  expect(await filter()).toEqual({
    projects: ['a'],
    roles: ['review'],
    labels: ['gpu'],
    except: ['t1'],
    oneByOne: true,
  })
})
