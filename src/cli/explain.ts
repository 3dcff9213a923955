import { printJson, type DefineCommand } from './context.ts'
import { changeLines } from './event-view.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { paintStatus } from './task-view.ts'
import { createPaint } from './terminal.ts'

/** `ccm explain`: each change of an agent's state with what proved it. */
export const explainCommand: DefineCommand = (context, done) =>
  createCommand('explain', "Show why: each change of the agent's state and what proved it.", [
    'ccm explain 3f2a',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .action(async (id: string, options: { json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const { task, chain } = await api.explain(id)
      if (options.json) {
        printJson(context, { task, chain })
        return done(EXIT.ok)
      }
      const paint = createPaint(context.stdout, context.env)
      const lines = [
        `${paint.bold(task.id)}  ${paintStatus(task.status, paint)}  ${oneLine(task.prompt, 80)}`,
      ]
      for (const [index, change] of chain.entries()) {
        if (change.attempt !== chain[index - 1]?.attempt)
          lines.push('', paint.bold(`Attempt ${change.attempt}`))
        lines.push(...changeLines(change, paint))
      }
      if (chain.length === 0)
        lines.push(`No agent has worked on it. ${oneLine(task.state_reason ?? '')}`.trimEnd())
      if (task.error !== null) lines.push('', paint.red(oneLine(task.error, 500)))
      context.stdout.write(`${lines.join('\n')}\n`)
      done(EXIT.ok)
    })
