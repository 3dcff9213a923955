import type { ApplyHow } from '../core/task/workspace.ts'
import { CcmError } from '../core/errors.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'

/** `ccm apply`: brings the work of a task into the source. */
export const applyCommand: DefineCommand = (context, done) =>
  createCommand(
    'apply',
    'Bring the work of a task into the directory it began from; a conflict touches nothing.',
    ['ccm apply 3f2a', 'ccm apply 3f2a --patch'],
  )
    .argument('<id>', 'the id of a task, or its beginning')
    .option('--merge', 'merge its branch into the one that is checked out, then remove it (the default)')
    .option('--patch', 'as changes that nobody has committed; the branch stays')
    .option('--checkout', 'check its branch out')
    .action(async (id: string, options: Partial<Record<ApplyHow, boolean>> & { json?: boolean }) => {
      const wanted = (['merge', 'patch', 'checkout'] as const).filter((how) => options[how] === true)
      if (wanted.length > 1) {
        throw new CcmError('BAD_INPUT', `--${wanted.join(' and --')} exclude each other.`, {
          remedy: 'See: ccm apply --help',
        })
      }
      const { api } = await context.daemon({ start: true })
      const applied = await api.apply(id, wanted[0] ?? 'merge')
      if (options.json) printJson(context, applied)
      else {
        const { how, top, branch } = applied
        const files = applied.files === 1 ? '1 file' : `${applied.files} files`
        const kept = branch === null ? '' : ` The branch ${branch} stays.`
        const sentence = {
          merge: `Merged into ${top}: ${files}.${kept}`,
          patch: `Applied to ${top}, not committed: ${files}.${kept}`,
          checkout: `${top} is on ${branch} now.`,
        }[how]
        context.stdout.write(`${oneLine(sentence, 1000)}\n`)
      }
      done(EXIT.ok)
    })
