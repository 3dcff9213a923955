import type { Logger } from 'pino'
import type { Task } from '../../core/task/task.ts'
import type { Budgets } from '../claims/budgets.ts'
import type { RunningAgent } from './running-agent.ts'

/** Stores what an agent has used since the last time; `over` hears where a budget is used up. Never rejects. */
export function createSpend(of: {
  budgets: Pick<Budgets, 'record' | 'over'>
  stored: (taskId: string) => void
  over: (task: Task, why: string) => void
  logger: Logger
}): (agent: RunningAgent) => Promise<void> {
  return async ({ usage, task }) => {
    const messages = (await usage?.update()) ?? []
    if (messages.length === 0) return
    try {
      await of.budgets.record(task, messages)
      of.stored(task.id)
    } catch (err) {
      of.logger.error({ err, taskId: task.id }, 'what an agent used could not be stored; it is tried again')
      usage?.again(messages)
    }
    try {
      const why = of.budgets.over(task)
      if (why !== null) of.over(task, why)
    } catch (err) {
      of.logger.error({ err, taskId: task.id }, 'what a task has used could not be read; it is tried again')
    }
  }
}
