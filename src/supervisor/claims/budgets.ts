import { narrower, overBudget, type Limits, type Spent } from '../../core/task/budget.ts'
import type { Clock } from '../../core/clock.ts'
import type { Task } from '../../core/task/task.ts'
import type { MessageUsage } from '../../core/task/usage.ts'
import type { Projects } from '../../store/projects.ts'
import type { SpentMessage, Spending } from '../../store/spending.ts'

/** What this machine may spend: on one task over its attempts, and in a day of its own time zone. */
export type BudgetSettings = { task: Limits; day: Limits }

/** Keeps what is spent, and says when to stop. */
export type Budgets = {
  /** Stores what an agent has used. What could not be stored counts all the same, until it is or the daemon ends. */
  record: (task: Task, messages: readonly MessageUsage[]) => Promise<void>
  /** Why this task may spend nothing more, as a sentence, or null. */
  over: (task: Task) => string | null
  /** Why nothing at all may be started today; null: it may. */
  dayOver: () => string | null
  /** Why nothing of this project may be started today; null: it may. */
  projectOver: (project: string) => string | null
  /** Why nothing of this project may be started today, for either reason; null: it may. */
  spent: (project: string) => string | null
  /** The next midnight: when a day's budget begins anew. */
  dayEndsAt: () => number
}

export function createBudgets(deps: {
  settings: BudgetSettings
  spending: Spending
  projects: Projects
  /** US dollars for these messages, null when a price is not known. */
  costOf: (messages: MessageUsage[]) => Promise<number | null>
  clock: Clock
}): Budgets {
  const { settings, spending, projects, clock } = deps

  /** By task: a full disk must not keep an agent from its limit. */
  const unsaved = new Map<string, { project: string; spent: SpentMessage[] }>()

  function withUnsaved(
    stored: Spent,
    from: number,
    isMeant: (id: string, project: string) => boolean,
  ): Spent {
    const sum = { ...stored }
    for (const [id, { project, spent }] of unsaved) {
      for (const { at, usage, costUsd, model } of isMeant(id, project) ? spent : []) {
        if (at < from) continue
        sum.tokens += Object.values(usage).reduce((all, count) => all + count, 0)
        sum.costUsd += costUsd ?? 0
        if (costUsd === null) sum.unpriced = model
      }
    }
    return sum
  }

  function today(project: string | null): Spent {
    const from = midnight(clock(), 0)
    return withUnsaved(spending.since(from, project), from, (_, of) => project === null || of === project)
  }

  const dayOver = () =>
    isUnlimited(settings.day) ? null : overBudget('of this machine for today', today(null), settings.day)

  const projectOver = (name: string) => {
    const project = projects.byName(name)
    if (project === null) return null
    const limits = { maxTokens: project.maxTokensPerDay, maxCostUsd: project.maxCostUsdPerDay }
    if (isUnlimited(limits)) return null
    return overBudget(`of project ${name} for today`, today(name), limits)
  }

  const taskOver = (task: Task) => {
    const project = projects.byName(task.project)
    // A task's own budget may only be narrower than its project's, and that than the machine's.
    const limits = [settings.task, project ?? NO_LIMITS, task].reduce<Limits>(narrower, NO_LIMITS)
    if (isUnlimited(limits)) return null
    return overBudget(
      'of this task',
      withUnsaved(spending.ofTask(task.id), 0, (id) => id === task.id),
      limits,
    )
  }

  return {
    async record(task, messages) {
      const at = clock()
      const spent = await Promise.all(
        messages.map(async (message) => {
          const { id, model, usage } = message
          return { id, model, usage, costUsd: await deps.costOf([message]), at }
        }),
      )
      unsaved.set(task.id, { project: task.project, spent })
      spending.record(task.id, task.project, spent)
      unsaved.delete(task.id)
    },
    over: (task) => taskOver(task) ?? projectOver(task.project) ?? dayOver(),
    dayOver,
    projectOver,
    spent: (project) => dayOver() ?? projectOver(project),
    dayEndsAt: () => midnight(clock(), 1),
  }
}

const NO_LIMITS: Limits = { maxTokens: null, maxCostUsd: null }

function isUnlimited({ maxTokens, maxCostUsd }: Limits): boolean {
  return maxTokens === null && maxCostUsd === null
}

/** Local midnight of today plus `days`; a day of 23 or 25 hours is one too. */
function midnight(now: number, days: number): number {
  const date = new Date(now)
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime()
}
