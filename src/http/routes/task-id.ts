import { CcmError, messageOf } from '../../core/errors.ts'
import { isWholeId } from '../../core/task/task.ts'
import { mayEnter } from '../../core/principal.ts'
import { isAway } from '../../supervisor/shared/away.ts'
import type { AppDeps, TaskView } from '../deps.ts'
import type { HttpContext } from './route.ts'

/**
 * The task of a complete id or of a prefix only one task has; throws NOT_FOUND or CONFLICT. A task of a project
 * the caller may not enter is not found, and takes no part in what a prefix means.
 */
export async function findTask(deps: AppDeps, context: HttpContext, given: string): Promise<TaskView> {
  const view = await find(deps, context, given)
  context.set('about', { taskId: view.task.id, project: view.task.project })
  return view
}

/**
 * As `findTask`; null where the queue does not answer, this machine does not know the task, and the caller gave the
 * whole id: then the queue says later whether there is such a task. Not for a caller of some projects only, who might
 * learn of another's.
 */
export async function findTaskOrLater(
  deps: AppDeps,
  context: HttpContext,
  given: string,
): Promise<TaskView | null> {
  try {
    return await findTask(deps, context, given)
  } catch (error) {
    if (!isAway(error) || context.get('principal').projects !== null) throw error
    if (isWholeId(given)) return null
    throw new CcmError('SUPABASE_UNREACHABLE', messageOf(error), {
      remedy: 'Name the task by its whole id: then it is done when Supabase answers.',
    })
  }
}

async function find(deps: AppDeps, context: HttpContext, given: string): Promise<TaskView> {
  if (!/^[\w-]{1,64}$/.test(given)) throw notFound('')
  const principal = context.get('principal')
  const visible = async (id: string) => {
    // Its project first: the 404 of another's task is to take no longer than that of none.
    const task = await deps.tasks.row(id)
    return task !== null && mayEnter(principal, task.project) ? deps.tasks.viewOf(task) : null
  }
  const exact = await visible(given)
  if (exact !== null) return exact
  const longer = (await deps.tasks.idsByPrefix(given, principal.projects)).filter((id) => id !== given)
  const found = (await Promise.all(longer.map(visible))).filter((view) => view !== null)
  const [view, other] = found
  if (other !== undefined) {
    throw new CcmError(
      'CONFLICT',
      `More than one task has an id that starts with ${given}: ${found.map(({ task }) => task.id).join(', ')}.`,
      {
        remedy: 'Write more of the id.',
      },
    )
  }
  if (view === undefined) throw await notATask(deps, context, given)
  return view
}

/** There is no such task; where the word is a project's or schedule's name, the command for those. */
async function notATask(deps: AppDeps, context: HttpContext, given: string): Promise<CcmError> {
  const principal = context.get('principal')
  const project = (await deps.projects.list()).find(({ name }) => name === given && mayEnter(principal, name))
  if (project !== undefined) return otherKind(given, 'project', `ccm projects show ${given}`)
  const schedule = (await deps.schedules.list()).find(
    ({ schedule }) => schedule.name === given && mayEnter(principal, schedule.project),
  )
  if (schedule !== undefined) return otherKind(given, 'schedule', `ccm schedule show ${given}`)
  return notFound(given)
}

function otherKind(given: string, kind: string, command: string): CcmError {
  return new CcmError('NOT_FOUND', `There is no task ${given}; it is a ${kind}.`, {
    remedy: `See: ${command}`,
  })
}

/** There is no such task. */
export function notFound(id: string): CcmError {
  const message = id === '' ? 'That is not the id of a task.' : `There is no task ${id}.`
  return new CcmError('NOT_FOUND', message, { remedy: 'List them: ccm tasks' })
}
