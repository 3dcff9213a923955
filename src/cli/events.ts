import type { EventsQuery } from '../client/daemon-client.ts'
import { isFinal } from '../core/task/task.ts'
import type { HookEventJson } from '../protocol/hook-event.ts'
import { printJson, printJsonLine, type CliContext, type DefineCommand } from './context.ts'
import { eventLine } from './event-view.ts'
import { EXIT } from './exit-code.ts'
import { eventsOf } from './follow.ts'
import { createCommand, parseSince } from './parse.ts'
import { createPaint } from './terminal.ts'

type Filter = Pick<EventsQuery, 'kind' | 'tool' | 'since' | 'until'>

/** `ccm events`: the hook events of a task, as Claude Code reported them. */
export const eventsCommand: DefineCommand = (context, done) =>
  createCommand('events', 'List the hook events of a task, as Claude Code reported them.', [
    'ccm events 3f2a',
    'ccm events 3f2a --kind bash_output --since 10m',
    "ccm events 3f2a --follow --json | jq -r '.kind'",
  ])
    .argument('<id>', 'the id of a task, or its beginning')
    .option('--kind <kind>', 'only of this kind (bash_command) or phase (tool_use_error): see docs/events.md')
    .option('--tool <tool>', 'only of this tool')
    .option('--since <when>', 'only since then: 30m, 2h, or a time', parseSince)
    .option('--until <when>', 'only before then', parseSince)
    .option('-f, --follow', 'go on until the task is over; with --json one event per line')
    .action(async (id: string, options: Filter & { follow?: boolean; json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const task = await api.task(id)
      const paint = createPaint(context.stdout, context.env)
      const print = (event: HookEventJson) =>
        options.json
          ? printJsonLine(context, event)
          : void context.stdout.write(`${eventLine(event, paint)}\n`)
      const { kind, tool, since, until } = options
      const filter: Filter = {
        ...(kind !== undefined && { kind }),
        ...(tool !== undefined && { tool }),
        ...(since !== undefined && { since }),
        ...(until !== undefined && { until }),
      }

      if (options.follow) return done(await followEvents(context, task.id, filter, print))
      const events = await eventsOf(api, task.id, filter)
      if (options.json) printJson(context, events)
      else if (events.length === 0) {
        const narrowed = Object.keys(filter).length > 0
        context.stdout.write(narrowed ? 'No such hook events.\n' : 'No hook events yet.\n')
      } else events.forEach(print)
      done(EXIT.ok)
    })

async function followEvents(
  context: CliContext,
  id: string,
  filter: Filter,
  print: (event: HookEventJson) => void,
): Promise<number> {
  const { api } = await context.daemon({ start: false })
  const leave = new AbortController()
  const offInterrupt = context.onInterrupt(() => leave.abort())
  const { kind, tool, since, until } = filter
  const isWanted = (event: HookEventJson) =>
    (tool === undefined || event.tool === tool) &&
    (since === undefined || event.at >= since) &&
    (until === undefined || event.at < until)
  try {
    const seen = new Set<number>()
    const show = (event: HookEventJson) => {
      if (!seen.has(event.id) && isWanted(event)) print(event)
      seen.add(event.id)
    }
    const stream = {
      task: id,
      replay: true,
      giveUpAfterMs: 30_000,
      signal: leave.signal,
      ...(kind !== undefined && { kind }),
    }
    if (!isFinal((await api.task(id)).status)) {
      for await (const live of api.liveEvents(stream)) {
        if (live.event === 'hook') show(live.data)
        if (live.event === 'task' && isFinal(live.data.status)) break
      }
    }
    if (leave.signal.aborted) return EXIT.detached
    for (const event of await eventsOf(api, id, filter)) show(event)
    return EXIT.ok
  } finally {
    offInterrupt()
  }
}
