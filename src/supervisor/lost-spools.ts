import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { attemptFiles } from '../agent/launch.ts'
import type { Attempts } from '../store/attempts.ts'
import type { Ingest } from './ingest.ts'

/**
 * Stores what is in spools of attempts that the database does not know: it was replaced by an empty one, or by an
 * older backup. Answers a sentence for what was found, or none.
 */
export async function readLostSpools(options: {
  home: string
  attempts: Pick<Attempts, 'get'>
  ingest: Pick<Ingest, 'add' | 'remove'>
}): Promise<string[]> {
  const { home, attempts, ingest } = options
  const folder = join(home, 'attempts')
  let count = 0
  for (const name of await readdir(folder).catch(() => [])) {
    const [, taskId, digits] = /^([\w-]+)\.([1-9]\d{0,8})$/.exec(name) ?? []
    if (taskId === undefined) continue
    const attempt = Number(digits)
    if (attempts.get({ taskId, attempt }) !== null) continue
    const { spool } = attemptFiles(join(folder, name))
    const files = (await readdir(spool).catch(() => [])).filter((file) => file.endsWith('.json'))
    if (files.length === 0) continue
    count += files.length
    ingest.add({ taskId, attempt, folder: spool })
    await ingest.remove({ taskId, attempt, folder: spool })
  }
  return count === 0
    ? []
    : [`${count} hook events of attempts that this database does not know were stored with their tasks' ids.`]
}
