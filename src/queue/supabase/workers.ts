import type { ProjectLimits } from '../../core/task/queue.ts'
import type { Worker } from '../../core/task/worker.ts'
import type { Call } from './client.ts'
import { parseLimits, parseList, parseWorker } from './rows.ts'

/** All workers of a system, by name. Throws what `call` throws. */
export async function listWorkers(call: Call, system: string): Promise<Worker[]> {
  return call('workers_listed', { p_system: system }, parseList(parseWorker))
}

/** What is set for the projects of a system, by name. Throws what `call` throws. */
export async function listProjectLimits(call: Call, system: string): Promise<ProjectLimits[]> {
  return call('projects_listed', { p_system: system }, parseList(parseLimits))
}
