import type { Worker } from '../../core/task/worker.ts'
import type { Call } from './client.ts'
import { parseList, parseWorker } from './rows.ts'

/** All workers of a system, by name. Throws what `call` throws. */
export async function listWorkers(call: Call, system: string): Promise<Worker[]> {
  return call('workers_listed', { p_system: system }, parseList(parseWorker))
}
