import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'

/** `ccm discard`: takes the branch of a task away; the way back is printed. */
export const discardCommand: DefineCommand = (context, done) =>
  createCommand('discard', 'Take the branch of a task away; its commit can be had back for 30 days.', [
    'ccm discard 3f2a',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .action(async (id: string, options: { json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const discarded = await api.discard(id)
      if (options.json) printJson(context, discarded)
      else {
        const { commit, top, branch } = discarded
        context.stdout.write(
          `Discarded. To have it back: git -C ${oneLine(JSON.stringify(top), 500)} branch ${branch} ${commit}\n`,
        )
      }
      done(EXIT.ok)
    })
