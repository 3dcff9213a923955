import { Option } from 'commander'
import type { DaemonClient } from '../client/daemon-client.ts'
import { TASK_SORTS, type TaskSort } from '../core/task/task-list.ts'
import { TASK_STATUSES, type TaskStatus } from '../core/task/task.ts'
import type { TaskSummaryJson } from '../protocol/task.ts'
import { printJson, printJsonLine, type CliContext, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand, parseLimit, parsePast } from './parse.ts'
import { oneLine } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

/** The most that one request of the daemon answers. */
const PAGE = 1000
/** A table that changes more often cannot be read. */
const REDRAW_MS = 250

type Options = {
  status?: TaskStatus
  project?: string
  since?: number
  before?: string
  sort: TaskSort
  limit: number
  watch?: boolean
  json?: boolean
}

/** `ccm tasks`: the newest tasks as a table, once or kept up to date. */
export const tasksCommand: DefineCommand = (context, done) =>
  createCommand('tasks', 'List tasks, the newest first.', [
    'ccm tasks --status running --project app',
    'ccm tasks --since 2h --watch',
    'ccm tasks --sort -priority              (queued ones, the next in line first)',
    'ccm tasks --limit 100 --before 3f2a…   (the page after that task)',
  ])
    .addOption(new Option('--status <status>', 'only tasks with this status').choices([...TASK_STATUSES]))
    .option('--project <name>', 'only tasks of this project')
    .option('--since <when>', 'only tasks added since: 30m, 2h, 07:30 or 2026-11-20', parsePast)
    .option('--before <id>', 'only tasks older than this one, to page on')
    .addOption(
      new Option('--sort <order>', '- before a name: the greatest first')
        .choices([...TASK_SORTS])
        .default('-created_at'),
    )
    .option('--limit <n>', 'at most so many', parseLimit, 20)
    .option('-w, --watch', 'keep the list up to date; off a terminal a line for each change')
    .action(async (options: Options) => {
      const { api } = await context.daemon({ start: true })
      if (options.project !== undefined) await api.project(options.project)
      if (options.watch) return done(await watch(context, api, options))
      const tasks = await listed(api, options)
      if (options.json) printJson(context, tasks)
      else context.stdout.write(`${listLines(context, tasks, options).join('\n')}\n`)
      done(EXIT.ok)
    })

async function listed(api: DaemonClient, options: Options): Promise<TaskSummaryJson[]> {
  const { status, project, since, sort, limit } = options
  const filter = { sort, ...(status !== undefined && { status }), ...(project !== undefined && { project }) }
  let before = options.before === undefined ? undefined : (await api.task(options.before)).id
  if (since === undefined || sort !== '-created_at') {
    const tasks = await api.tasks({ ...filter, limit, ...(before !== undefined && { before }) })
    return tasks.filter(({ created_at }) => since === undefined || Date.parse(created_at) >= since)
  }
  const found: TaskSummaryJson[] = []
  for (;;) {
    const asked = Math.min(PAGE, limit - found.length)
    const page = await api.tasks({ ...filter, limit: asked, ...(before !== undefined && { before }) })
    const wanted = page.filter(({ created_at }) => Date.parse(created_at) >= since)
    found.push(...wanted)
    before = page.at(-1)?.id
    // Newest first: the first that is too old ends it.
    if (page.length < asked || wanted.length < page.length || found.length >= limit) return found
  }
}

function listLines(context: CliContext, tasks: TaskSummaryJson[], options: Options): string[] {
  if (tasks.length === 0) {
    const filtered = options.status ?? options.project ?? options.since ?? options.before
    return [filtered === undefined ? 'No tasks. Add one: ccm run "PROMPT"' : 'No such tasks.']
  }
  const rows = tasks.map((task) => [
    task.id,
    task.status,
    agentOf(task),
    task.project,
    task.created_at.slice(0, 16).replace('T', ' '),
    oneLine(task.prompt, 200),
  ])
  const header = ['ID', 'STATUS', 'AGENT', 'PROJECT', 'CREATED (UTC)', 'PROMPT']
  const lines = table(header, rows, createPaint(context.stdout, context.env), context.stdout)
  const last = tasks.at(-1)
  const more =
    tasks.length === options.limit &&
    options.sort === '-created_at' &&
    context.stdout.isTTY === true &&
    options.watch !== true
  return more ? [...lines, `More: ccm tasks --limit ${options.limit} --before ${last?.id}`] : lines
}

/** Redraws on a terminal; elsewhere prints a line for each task that changed its status or its agent's state. */
async function watch(context: CliContext, api: DaemonClient, options: Options): Promise<number> {
  const leave = new AbortController()
  const offInterrupt = context.onInterrupt(() => leave.abort())
  const terminal = context.stdout.isTTY === true && options.json !== true
  const seen = new Map<string, string>()
  const show = (tasks: TaskSummaryJson[]) => {
    if (terminal) {
      const lines = listLines(context, tasks, options).slice(0, (context.stdout.rows ?? 24) - 1)
      context.stdout.write(`\x1b[H\x1b[2J${lines.join('\n')}\n`)
      return
    }
    for (const task of tasks.toReversed()) {
      const now = `${task.status} ${agentOf(task)}`.trim()
      if (seen.get(task.id) === now) continue
      seen.set(task.id, now)
      const line = `${new Date().toISOString()}  ${task.id}  ${now}  ${task.project}  ${oneLine(task.prompt, 80)}`
      if (options.json) printJsonLine(context, task)
      else context.stdout.write(`${line}\n`)
    }
  }
  let drawing: Promise<void> | null = null
  const draw = () =>
    (drawing ??= (async () => {
      await new Promise((resolve) => setTimeout(resolve, REDRAW_MS))
      drawing = null
      if (!leave.signal.aborted) show(await listed(api, options))
    })())
  try {
    show(await listed(api, options))
    for await (const { event } of api.liveEvents({ signal: leave.signal, giveUpAfterMs: 30_000 })) {
      if (event === 'task') draw().catch(() => leave.abort())
    }
    return EXIT.detached
  } finally {
    offInterrupt()
  }
}

function agentOf(task: TaskSummaryJson): string {
  return task.status === 'running' ? (task.agent_state ?? '') : ''
}
