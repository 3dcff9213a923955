import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

type Worker = { worker: string; running: number; task_ids: string[]; this_daemon: boolean }

/** `ccm workers`: who works on what. */
export const workersCommand: DefineCommand = (context, done) =>
  createCommand('workers', 'List the workers that hold tasks, and the daemon of this machine.', [
    'ccm workers --json',
  ]).action(async (options: { json?: boolean }) => {
    const { api } = await context.daemon({ start: true })
    const [status, tasks] = await Promise.all([api.status(), api.tasks({ status: 'running', limit: 1000 })])
    const byName = new Map<string, Worker>([
      [status.worker, { worker: status.worker, running: 0, task_ids: [], this_daemon: true }],
    ])
    for (const { id, worker } of tasks) {
      const name = worker ?? status.worker
      const known = byName.get(name) ?? { worker: name, running: 0, task_ids: [], this_daemon: false }
      byName.set(name, { ...known, running: known.running + 1, task_ids: [...known.task_ids, id] })
    }
    const workers = [...byName.values()]
    if (options.json) printJson(context, workers)
    else {
      const rows = workers.map(({ worker, running, task_ids, this_daemon }) => [
        oneLine(worker, 60),
        this_daemon ? `${running} of ${status.max_concurrent}` : String(running),
        this_daemon ? `this daemon, pid ${status.pid}` : '',
        task_ids.join(' '),
      ])
      const paint = createPaint(context.stdout, context.env)
      context.stdout.write(
        `${table(['WORKER', 'RUNNING', '', 'TASKS'], rows, paint, context.stdout).join('\n')}\n`,
      )
    }
    done(EXIT.ok)
  })
