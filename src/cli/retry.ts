import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

/** `ccm retry`: tries a task again that failed, was cancelled or is dead. */
export const retryCommand: DefineCommand = (context, done) =>
  createCommand('retry', 'Try a task again that failed, was cancelled or is dead, with fresh budgets.', [
    'ccm retry 3f2a',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .action(async (id: string, options: { json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const { reply, task } = await api.retry(id)
      if (options.json) printJson(context, task)
      else {
        const how = reply === 'queued' ? 'is queued again' : 'is queued already'
        context.stdout.write(`Task ${task.id} ${how}. Watch it: ccm show ${task.id}\n`)
      }
      done(EXIT.ok)
    })
