import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { visible } from './printable.ts'
import { createPaint, type Paint } from './terminal.ts'

/** `ccm diff`: what a task has changed, at its end or so far. */
export const diffCommand: DefineCommand = (context, done) =>
  createCommand('diff', 'Show what a task has changed; off a terminal as a patch that git apply takes.', [
    'ccm diff 3f2a',
    'ccm diff 3f2a --stat',
    'ccm diff 3f2a | git apply',
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .option('--stat', 'only the files and how many lines of them')
    .action(async (id: string, options: { stat?: boolean; json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const answer = await api.diff(id, options.stat === true)
      if (options.json) printJson(context, answer)
      else if (context.stdout.isTTY === true) {
        const paint = createPaint(context.stdout, context.env)
        context.stdout.write(answer.diff === '' ? 'Nothing was changed.\n' : painted(answer.diff, paint))
      } else context.stdout.write(answer.diff)
      done(EXIT.ok)
    })

/** For eyes: no character of a file can move or hide anything on the screen. */
function painted(diff: string, paint: Paint): string {
  return diff
    .split('\n')
    .map((line) => {
      const text = visible(line)
      if (/^(?:diff|index|---|\+\+\+|new|deleted|old|similarity|rename) /.test(line)) return paint.bold(text)
      if (line.startsWith('@@')) return paint.cyan(text)
      if (line.startsWith('+')) return paint.green(text)
      return line.startsWith('-') ? paint.red(text) : text
    })
    .join('\n')
}
