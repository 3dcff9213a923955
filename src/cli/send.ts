import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'

/** `ccm send`: answers a question, or adds something to what the agent is doing. */
export const sendCommand: DefineCommand = (context, done) =>
  createCommand('send', "Answer an agent's question, or tell it something more.", [
    'ccm send 3f2a "Postgres"',
    'ccm send 3f2a -- "-v must stay"',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .argument('<text>', 'the answer; after "--" it may begin with "-"')
    .action(async (id: string, text: string, options: { json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const task = await api.send(id, text)
      if (options.json) printJson(context, task)
      else context.stdout.write(`Sent to task ${task.id}.\n`)
      done(EXIT.ok)
    })
