import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand, parseLimit, parseSince } from './parse.ts'
import { oneLine, printable } from './printable.ts'
import { createPaint } from './terminal.ts'

/** `ccm search`: finds events by their words. */
export const searchCommand: DefineCommand = (context, done) =>
  createCommand('search', 'Search prompts, commands, messages and outputs of all agents, newest first.', [
    'ccm search migration failed',
    `ccm search '"migration failed"' --project app --since 2d`,
    `ccm search 'migr*' --json`,
  ])
    .argument('<words...>', 'all of these; "several words" in this order; WORD* for a beginning')
    .option('--project <name>', 'only of this project')
    .option('--since <when>', 'only since then: 2h, 3d, or a time', parseSince)
    .option('--limit <count>', 'how many at most (default: 20)', parseLimit)
    .action(
      async (
        words: string[],
        options: { project?: string; since?: string; limit?: number; json?: boolean },
      ) => {
        const { api } = await context.daemon({ start: true })
        const { project, since, limit } = options
        const hits = await api.search(words.join(' '), {
          ...(project !== undefined && { project }),
          ...(since !== undefined && { since }),
          ...(limit !== undefined && { limit: Math.min(limit, 200) }),
        })
        if (options.json) printJson(context, hits)
        else if (hits.length === 0) context.stdout.write('Nothing found.\n')
        else {
          const paint = createPaint(context.stdout, context.env)
          for (const hit of hits) {
            const from = [hit.project, hit.kind, hit.tool]
              .filter((part) => part !== null)
              .map((part) => oneLine(part))
            context.stdout.write(
              `${paint.bold(hit.task_id)}  ${paint.dim(`${hit.at}  ${from.join(' · ')}`)}\n`,
            )
            context.stdout.write(`  ${oneLine(printable(hit.snippet), 240)}\n`)
          }
        }
        done(EXIT.ok)
      },
    )
