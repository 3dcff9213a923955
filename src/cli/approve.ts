import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

/** `ccm approve`: allows what a waiting agent asks for. */
export const approveCommand: DefineCommand = (context, done) =>
  createCommand('approve', 'Allow what a waiting agent asks for, or its plan.', [
    'ccm show 3f2a && ccm approve 3f2a',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .action(async (id: string, options: { json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      // For what is asked now, not for what may be asked when this arrives.
      const asking = await api.task(id)
      const task = await api.approve(asking.id, asking.waiting_for?.id)
      if (options.json) printJson(context, task)
      else context.stdout.write(`Allowed; task ${task.id} goes on.\n`)
      done(EXIT.ok)
    })
