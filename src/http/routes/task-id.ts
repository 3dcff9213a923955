import { CcmError } from '../../core/errors.ts'
import type { AppDeps, TaskView } from '../deps.ts'

/** The task of a complete id or of a prefix only one task has; throws NOT_FOUND or CONFLICT. */
export async function findTask(deps: AppDeps, given: string): Promise<TaskView> {
  if (!/^[\w-]{1,64}$/.test(given)) throw notFound('')
  const exact = await deps.tasks.get(given)
  if (exact !== null) return exact
  const [id, other] = await deps.tasks.idsByPrefix(given)
  if (other !== undefined) {
    throw new CcmError('CONFLICT', `More than one task has an id that starts with ${given}.`, {
      remedy: 'Write more of the id.',
    })
  }
  const view = id === undefined ? null : await deps.tasks.get(id)
  if (view === null) throw notFound(given)
  return view
}

/** There is no such task. */
export function notFound(id: string): CcmError {
  return new CcmError('NOT_FOUND', id === '' ? 'That is not the id of a task.' : `There is no task ${id}.`)
}
