import type { WorkerJson } from '../protocol/fleet.ts'
import { printJson, type DefineCommand } from './context.ts'
import { showDuration } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

/** A worker writes every 30 s; one that has missed three heartbeats is away. */
const AWAY_MS = 95_000

/** `ccm workers`: who works on what, on all machines. */
export const workersCommand: DefineCommand = (context, done) =>
  createCommand('workers', 'List the workers of the queue, on all machines, and what they work on.', [
    'ccm workers --json',
  ]).action(async (options: { json?: boolean }) => {
    const { api } = await context.daemon({ start: true })
    const [workers, tasks] = await Promise.all([api.workers(), api.tasks({ status: 'running', limit: 1000 })])
    const full = workers.map((worker) => ({
      ...worker,
      task_ids: tasks.filter((task) => task.worker === worker.worker).map(({ id }) => id),
    }))
    if (options.json) printJson(context, full)
    else {
      const rows = full.map((worker) => [
        oneLine(worker.worker, 60),
        `${worker.task_ids.length} of ${worker.capacity}`,
        stateOf(worker),
        oneLine(worker.host, 40),
        oneLine(Object.keys(worker.projects).join(' '), 60),
        worker.task_ids.join(' '),
      ])
      const paint = createPaint(context.stdout, context.env)
      const heads = ['WORKER', 'RUNNING', 'STATE', 'HOST', 'PROJECTS', 'TASKS']
      context.stdout.write(`${table(heads, rows, paint, context.stdout).join('\n')}\n`)
    }
    done(EXIT.ok)
  })

function stateOf({ draining, silent_ms, this_daemon }: WorkerJson): string {
  if (draining) return 'draining'
  if (silent_ms > AWAY_MS) return `away for ${showDuration(silent_ms)}`
  return this_daemon ? 'this daemon' : 'at work'
}
