import type { Command } from 'commander'
import { CcmError } from '../core/errors.ts'
import { nearestName } from '../protocol/faults.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'

/**
 * A command of subcommands. Alone it does what `list` does; a misspelt subcommand is told its nearest. What
 * follows the name of a subcommand belongs to that subcommand.
 */
export function createGroup(
  name: string,
  summary: string,
  examples: string[],
  parts: { alone: (options: { json?: boolean }) => Promise<void>; subcommands: Command[] },
): Command {
  const names = parts.subcommands.map((subcommand) => subcommand.name())
  const group = createCommand(name, summary, examples)
    .allowExcessArguments(true)
    .action(async (options: { json?: boolean }, command: Command) => {
      const [word] = command.args
      if (word === undefined) return parts.alone(options)
      const near = nearestName(word, names)
      const hint = near === null ? '.' : `; did you mean "${name} ${near}"?`
      throw new CcmError('BAD_INPUT', `There is no command "${name} ${oneLine(word, 40)}"${hint}`, {
        remedy: `See: ccm ${name} --help`,
      })
    })
    .enablePositionalOptions()
  for (const subcommand of parts.subcommands) group.addCommand(subcommand)
  return group
}
