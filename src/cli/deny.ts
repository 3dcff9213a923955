import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

/** `ccm deny`: refuses what a waiting agent asks for; the agent goes on without it. */
export const denyCommand: DefineCommand = (context, done) =>
  createCommand('deny', 'Refuse what a waiting agent asks for; it goes on without.', [
    'ccm deny 3f2a --reason "use the test database"',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .option('--reason <text>', 'what the agent is told')
    .action(async (id: string, options: { reason?: string; json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const task = await api.deny(id, options.reason)
      if (options.json) printJson(context, task)
      else context.stdout.write(`Refused; task ${task.id} goes on.\n`)
      done(EXIT.ok)
    })
