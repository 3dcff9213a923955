import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { showLines } from './task-view.ts'
import { timelineLines } from './timeline-view.ts'
import { createPaint } from './terminal.ts'

/** `ccm show`: everything about one task. */
export const showCommand: DefineCommand = (context, done) =>
  createCommand('show', 'Show everything about a task: state, question, result.', [
    'ccm show 3f2a',
    'ccm show 3f2a --json',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .action(async (id: string, options: { json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const task = await api.task(id)
      if (options.json) {
        printJson(context, task)
      } else {
        const paint = createPaint(context.stdout, context.env)
        const lines = [...showLines(task, paint), ...timelineLines(await api.timeline(task.id), paint)]
        context.stdout.write(`${lines.join('\n')}\n`)
      }
      done(EXIT.ok)
    })
