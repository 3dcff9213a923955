import type { InboxEntryJson } from '../protocol/inbox.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { createCommand } from './parse.ts'
import { oneLine, printable } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint, type Paint } from './terminal.ts'

type Options = { json?: boolean }

/** `ccm inbox`: what came from outside, and what a person decides about it. */
export const inboxCommand: DefineCommand = (context, done) => {
  const print = (entry: InboxEntryJson, options: Options, said: string) => {
    if (options.json) printJson(context, entry)
    else context.stdout.write(`${said}\n`)
    done(EXIT.ok)
  }
  const list = async (options: Options & { all?: boolean }) => {
    const { api } = await context.daemon({ start: true })
    const entries = await api.inbox(options.all === true ? {} : { state: 'waiting' })
    if (options.json) printJson(context, entries)
    else if (entries.length === 0) {
      context.stdout.write(options.all ? 'Nothing came in.\n' : 'Nothing waits for approval.\n')
    } else {
      const rows = entries.map((entry) => [
        String(entry.id),
        entry.state,
        entry.source,
        entry.project,
        oneLine(entry.sender ?? '', 40),
        oneLine(entry.title),
      ])
      const paint = createPaint(context.stdout, context.env)
      const header = ['ID', 'STATE', 'SOURCE', 'PROJECT', 'FROM', 'TITLE']
      context.stdout.write(`${table(header, rows, paint, context.stdout).join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  return createGroup(
    'inbox',
    'List, read, approve and refuse what came in by webhooks and chats.',
    ['ccm inbox', 'ccm inbox show 7 && ccm inbox approve 7'],
    {
      alone: list,
      subcommands: [
        createCommand('list', 'List what waits for approval.', ['ccm inbox list --all'])
          .option('--all', 'also what was decided, newest first')
          .action(list),
        createCommand('show', 'Show a request and the prompt it would become.', ['ccm inbox show 7'])
          .argument('<id>', 'the number of the request')
          .action(async (id: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            const entry = await api.inboxEntry(id)
            const paint = createPaint(context.stdout, context.env)
            print(entry, options, linesOf(entry, paint).join('\n'))
          }),
        createCommand('approve', 'Let a request become a task.', ['ccm inbox approve 7'])
          .argument('<id>', 'the number of the request')
          .action(async (id: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            const entry = await api.approveEntry(id)
            print(entry, options, `Request ${entry.id} is approved and goes to the queue.`)
          }),
        createCommand('refuse', 'Refuse a request; whoever sent it may be told the reason.', [
          'ccm inbox refuse 7 --reason "Not here"',
        ])
          .argument('<id>', 'the number of the request')
          .option('--reason <text>', 'why')
          .action(async (id: string, options: Options & { reason?: string }) => {
            const { api } = await context.daemon({ start: true })
            const entry = await api.refuseEntry(id, options.reason)
            print(entry, options, `Request ${entry.id} is refused.`)
          }),
      ],
    },
  )
}

function linesOf(entry: InboxEntryJson, paint: Paint): string[] {
  const row = (label: string, value: string | null) =>
    value === null ? [] : [`  ${paint.dim(label.padEnd(10))}${oneLine(value, 500)}`]
  return [
    `${paint.bold(String(entry.id))}  ${entry.state}  ${oneLine(entry.title, 200)}`,
    ...row('source', entry.source),
    ...row('project', entry.project),
    ...row('from', entry.sender),
    ...row('received', entry.received_at),
    ...row('reason', entry.reason),
    ...row('decided by', entry.decided_by),
    ...row('task', entry.task_id),
    '',
    paint.bold('Prompt'),
    ...printable(entry.prompt)
      .split('\n')
      .map((line) => `  ${line}`),
  ]
}
