import { expect, onTestFinished, test } from 'vitest'
import { defaultProjectSettings } from '../../core/task/project.ts'
import type { Task } from '../../core/task/task.ts'
import type { MessageUsage } from '../../core/task/usage.ts'
import { createProjects } from '../../store/projects.ts'
import { createSpending } from '../../store/spending.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createBudgets, type BudgetSettings } from './budgets.ts'

const NONE = { maxTokens: null, maxCostUsd: null }
const NOON = new Date(2026, 5, 15, 12).getTime()

function start(
  settings: Partial<BudgetSettings> = {},
  project: { maxTokensPerDay?: number; maxTokens?: number } = {},
) {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  const projects = createProjects(db)
  for (const name of ['app', 'other']) {
    projects.add({
      ...defaultProjectSettings(),
      ...(name === 'app' ? project : {}),
      name,
      dir: `/${name}`,
      trusted: true,
      createdAt: 0,
    })
  }
  let now = NOON
  const spending = createSpending(db)
  const disk = { isFull: false }
  const budgets = createBudgets({
    settings: { task: NONE, day: NONE, ...settings },
    spending: {
      ...spending,
      record(...given) {
        if (disk.isFull) throw new Error('disk full')
        spending.record(...given)
      },
    },
    projects,
    costOf: async (messages) => (messages.every(({ model }) => model === 'priced') ? messages.length : null),
    clock: () => now,
  })
  return { budgets, at: (time: number) => (now = time), spending, disk }
}

const task = (id: string, more: Partial<Task> = {}) =>
  ({ id, project: 'app', maxTokens: null, maxCostUsd: null, ...more }) as Task

const message = (id: string, tokens = 100, model = 'priced'): MessageUsage => ({
  id,
  model,
  usage: {
    input_tokens: tokens - 30,
    output_tokens: 10,
    cache_read_input_tokens: 10,
    cache_creation_input_tokens: 10,
  },
  cacheCreation1hTokens: 0,
  webSearches: 0,
})

test('a task is over at its own limit, whatever kind of token, and no other task is', async () => {
  const { budgets } = start()
  const limited = task('a', { maxTokens: 200 })
  await budgets.record(limited, [message('1')])
  expect(budgets.over(limited)).toBeNull()
  await budgets.record(limited, [message('2')])
  expect(budgets.over(limited)).toContain('200 of 200 tokens')
  expect(budgets.over(task('b', { maxTokens: 200 }))).toBeNull()
})

test('a message that is read again, by an attempt that resumes its session, counts once and as it is now', async () => {
  const { budgets, spending } = start()
  await budgets.record(task('a'), [message('1', 100)])
  await budgets.record(task('a'), [message('1', 150), message('2', 100)])
  expect(spending.ofTask('a')).toEqual({ tokens: 250, costUsd: 2, unpriced: null })
})

test("a task may not widen its project's limit, nor the project the machine's", async () => {
  const { budgets } = start({ task: { maxTokens: 300, maxCostUsd: null } }, { maxTokens: 200 })
  const wide = task('a', { maxTokens: 1000 })
  await budgets.record(wide, [message('1', 200)])
  expect(budgets.over(wide)).toContain('200 of 200')
  const elsewhere = task('b', { project: 'other', maxTokens: 1000 })
  await budgets.record(elsewhere, [message('2', 300)])
  expect(budgets.over(elsewhere)).toContain('300 of 300')
})

test("a project's day ends at midnight, and its limit holds its tasks only", async () => {
  const { budgets, at } = start({}, { maxTokensPerDay: 100 })
  await budgets.record(task('a'), [message('1')])
  expect(budgets.projectOver('app')).toContain('of project app for today')
  expect(budgets.over(task('b'))).toContain('of project app')
  expect(budgets.over(task('c', { project: 'other' }))).toBeNull()
  expect(budgets.dayOver()).toBeNull()
  at(new Date(2026, 5, 16).getTime() - 1)
  expect(budgets.projectOver('app')).not.toBeNull()
  at(budgets.dayEndsAt())
  expect(new Date(budgets.dayEndsAt()).getHours()).toBe(0)
  expect(budgets.projectOver('app')).toBeNull()
})

test("the machine's day holds everything", async () => {
  const { budgets } = start({ day: { maxTokens: null, maxCostUsd: 2 } })
  await budgets.record(task('a'), [message('1')])
  expect(budgets.dayOver()).toBeNull()
  await budgets.record(task('b', { project: 'other' }), [message('2')])
  expect(budgets.dayOver()).toContain('$2.00 of $2.00')
  expect(budgets.over(task('c'))).toContain('of this machine for today')
})

test('a model without a price is told apart from one that cost nothing', async () => {
  const { budgets, spending } = start()
  const limited = task('a', { maxCostUsd: 10 })
  await budgets.record(limited, [message('1'), message('2', 100, 'strange')])
  expect(budgets.over(limited)).toContain('strange')
  const models = spending.byModel({ from: 0, to: NOON + 1, project: null })
  expect(models).toEqual([
    { model: 'priced', tokens: 100, costUsd: 1, messages: 1 },
    { model: 'strange', tokens: 100, costUsd: null, messages: 1 },
  ])
})

test('what could not be stored counts until it is: a full disk is no way around a limit', async () => {
  const { budgets, disk, at, spending } = start({
    task: { maxTokens: 150, maxCostUsd: null },
    day: { maxTokens: 350, maxCostUsd: null },
  })
  await budgets.record(task('a'), [message('1')])
  disk.isFull = true
  await expect(budgets.record(task('a'), [message('2')])).rejects.toThrow('disk full')
  // As it is tried again, with what came since: none counts twice.
  await expect(budgets.record(task('a'), [message('2'), message('3')])).rejects.toThrow('disk full')
  expect(budgets.over(task('a'))).toContain('300 of 150 tokens')
  await expect(budgets.record(task('b'), [message('4')])).rejects.toThrow('disk full')
  expect(budgets.dayOver()).toContain('400 of 350 tokens')
  expect(budgets.over(task('c'))).toBe(budgets.dayOver())
  disk.isFull = false
  await budgets.record(task('a'), [message('2'), message('3')])
  await budgets.record(task('b'), [message('4')])
  expect(budgets.dayOver()).toContain('400 of 350 tokens')
  expect(spending.ofTask('a').tokens).toBe(300)
  at(NOON + 86_400_000)
  expect(budgets.dayOver()).toBe(null)
})
