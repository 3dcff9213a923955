import { InvalidArgumentError } from 'commander'
import type { AuditJson } from '../protocol/audit.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand, parseLimit, parseSince } from './parse.ts'
import { oneLine } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

type Options = { since?: string; who?: string; limit: number; json?: boolean }

/** `ccm audit`: every change somebody asked the daemon for, newest last. */
export const auditCommand: DefineCommand = (context, done) =>
  createCommand('audit', 'Show who changed what, from where, and what became of it.', [
    'ccm audit --since 1d',
    'ccm audit --who telegram --json',
  ])
    .option('--since <when>', 'only since then: 10m, 2h or a time such as 2026-11-20T07:00', parseSince)
    .option('--who <caller>', "a key's or user's id, or a kind: local, key, user, telegram, github", parseWho)
    .option('--limit <n>', 'the newest entries only', parseLimit, 100)
    .action(async ({ since, who, limit, json }: Options) => {
      const { api } = await context.daemon({ start: true })
      const entries = await api.audit({
        limit,
        ...(since !== undefined && { since }),
        ...(who !== undefined && { who }),
      })
      if (json) printJson(context, entries)
      else if (entries.length === 0) {
        const filtered = since ?? who
        context.stdout.write(filtered === undefined ? 'Nobody changed anything.\n' : 'No such changes.\n')
      } else {
        const paint = createPaint(context.stdout, context.env)
        const rows = entries.toReversed().map(toRow)
        const header = ['AT (UTC)', 'WHO', 'FROM', 'ACTION', 'ABOUT', 'RESULT']
        context.stdout.write(`${table(header, rows, paint).join('\n')}\n`)
      }
      done(EXIT.ok)
    })

function toRow({
  at,
  kind,
  who,
  action,
  target,
  task_id,
  project,
  origin,
  status,
  code,
}: AuditJson): string[] {
  const about = [task_id?.slice(0, 8) ?? target, project].filter((word) => word !== null).join(' ')
  return [
    at.slice(0, 19).replace('T', ' '),
    oneLine(kind === who ? kind : `${kind} ${who}`, 40),
    oneLine(origin, 40),
    oneLine(action, 60),
    oneLine(about, 60) || '-',
    code === null ? String(status) : `${status} ${oneLine(code, 30)}`,
  ]
}

function parseWho(text: string): string {
  if (text.length > 0 && text.length <= 200) return text
  throw new InvalidArgumentError('It must be 1 to 200 characters.')
}
