import { isFinal } from '../core/task/task.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

/** `ccm cancel`: ends a task, whatever its agent is doing. */
export const cancelCommand: DefineCommand = (context, done) =>
  createCommand('cancel', 'End a task, whatever its agent is doing; exit 1 when it was over before.', [
    'ccm cancel 3f2a --reason "wrong branch"',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .option('--reason <text>', 'why, kept with the task')
    .action(async (id: string, options: { reason?: string; json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const { task } = await api.cancel(id, options.reason)
      const over = isFinal(task.status) && task.status !== 'cancelled'
      if (options.json) printJson(context, task)
      else if (over) context.stderr.write(`ccm: Task ${task.id} was over before: ${task.status}.\n`)
      else {
        const ending = {
          cancelled: 'is cancelled',
          queued: 'is being cancelled: Supabase is told when it answers',
          other: 'is being ended',
        }[task.status === 'cancelled' || task.status === 'queued' ? task.status : 'other']
        context.stdout.write(`Task ${task.id} ${ending}.\n`)
      }
      done(over ? EXIT.failed : EXIT.ok)
    })
