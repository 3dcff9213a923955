import { CcmError } from '../errors.ts'
import { promptFault, type NewTask } from './task.ts'

/** How many tasks one task may depend on. */
export const DEPENDENCIES_MAX = 50
const LABELS_MAX = 20
/** The last millisecond of the year 9999. */
const TIME_MAX = 253_402_300_799_999
const LABEL = /^[a-z0-9][a-z0-9._:-]{0,62}$/

/** Why no queue can take a task, one sentence for each bad field; [] when it can. */
export function newTaskFaults(task: NewTask): string[] {
  const { priority, role, labels, dependsOn, scheduledAt, maxTokens, maxCostUsd, source } = task
  const faults = [promptFault(task.prompt)]
  const check = (good: boolean, sentence: string) => faults.push(good ? null : sentence)
  check(
    Number.isInteger(priority) && Math.abs(priority) <= 100,
    `The priority ${priority} is not a whole number from -100 to 100.`,
  )
  check(
    role === null || /^[a-z0-9-]+$/.test(role),
    `The role ${JSON.stringify(role)} holds something else than a-z, 0-9 and -.`,
  )
  check(
    labels.length <= LABELS_MAX && labels.every((label) => LABEL.test(label)),
    `The labels must be at most ${LABELS_MAX}, each of 1 to 63 of a-z, 0-9, ".", "_", ":" and "-".`,
  )
  const dependencies = new Set(dependsOn).size
  check(
    dependencies <= DEPENDENCIES_MAX,
    `It depends on ${dependencies} tasks; at most ${DEPENDENCIES_MAX} are allowed.`,
  )
  check(
    scheduledAt === null || (Number.isInteger(scheduledAt) && scheduledAt >= 0 && scheduledAt <= TIME_MAX),
    'The time of scheduling is not one of the years 1970 to 9999.',
  )
  check(
    maxTokens === null || (Number.isSafeInteger(maxTokens) && maxTokens > 0),
    'The budget of tokens must be a whole number above 0.',
  )
  check(
    maxCostUsd === null || (Number.isFinite(maxCostUsd) && maxCostUsd > 0),
    'The budget of dollars must be a number above 0.',
  )
  check(/^[a-z][a-z0-9-]{0,39}$/.test(source), 'The source must be 1 to 40 of a-z, 0-9 and -.')
  return faults.filter((fault) => fault !== null)
}

/** Throws BAD_INPUT for a task that no queue can take. */
export function checkNewTask(task: NewTask): void {
  const faults = newTaskFaults(task)
  if (faults.length > 0) throw new CcmError('BAD_INPUT', faults.join(' '))
}
