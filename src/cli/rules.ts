import type { Command } from 'commander'
import { printJson, type CliContext } from './context.ts'
import { EXIT } from './exit-code.ts'
import { collect, createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

/** An agent is told at its start which tools the rules look at before they are used. */
const RUNNING =
  'Agents that run already ask for what they did before, by their permission mode and the rules of their start; rules answer it as they are now.\n'

/** `ccm projects rules`: what answers permission requests before a person is asked. */
export function rulesCommand(context: CliContext, done: (code: number) => void): Command {
  return createCommand('rules', "List and change what answers a project's permission requests at once.", [
    'ccm projects rules app',
    'ccm projects rules app --allow "Bash(npm test:*)" --allow "Edit(src/**)" --deny "Bash(rm:*)"',
    'ccm projects rules app --remove "Bash(npm test:*)"',
  ])
    .argument('<name>', 'the name of the project')
    .option('--allow <rule>', "allow what this rule names, in Claude Code's syntax; may be repeated", collect)
    .option('--deny <rule>', 'deny it; beats the others', collect)
    .option('--ask <rule>', 'leave it to a person; beats --allow', collect)
    .option('--remove <rule>', 'forget a rule', collect)
    .action(
      async (
        name: string,
        options: Partial<Record<'allow' | 'deny' | 'ask' | 'remove', string[]>> & { json?: boolean },
      ) => {
        const { api } = await context.daemon({ start: true })
        const set = (['deny', 'ask', 'allow'] as const).flatMap((effect) =>
          (options[effect] ?? []).map((rule) => ({ effect, rule })),
        )
        const remove = options.remove ?? []
        const changes = set.length + remove.length > 0
        const rules = changes ? await api.changeRules(name, { set, remove }) : await api.rules(name)
        if (set.some(({ effect }) => effect !== 'allow')) context.stderr.write(RUNNING)
        if (options.json) printJson(context, rules)
        else if (rules.length === 0)
          context.stdout.write('No rules: every permission request waits for a person.\n')
        else {
          const rows = rules.map(({ effect, rule }) => [effect, oneLine(rule, 1000)])
          context.stdout.write(
            `${table(['EFFECT', 'RULE'], rows, createPaint(context.stdout, context.env)).join('\n')}\n`,
          )
        }
        done(EXIT.ok)
      },
    )
}
