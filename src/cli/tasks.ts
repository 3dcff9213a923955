import { TASK_STATUSES, type TaskStatus } from '../core/task.ts'
import { Option } from 'commander'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand, parseLimit } from './parse.ts'
import { oneLine } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

/** `ccm tasks`: the newest tasks as a table. */
export const tasksCommand: DefineCommand = (context, done) =>
  createCommand('tasks', 'List tasks, the newest first.', ['ccm tasks --status running'])
    .addOption(new Option('--status <status>', 'only tasks with this status').choices([...TASK_STATUSES]))
    .option('--limit <n>', 'at most so many', parseLimit, 20)
    .action(async (options: { status?: TaskStatus; limit: number; json?: boolean }) => {
      const { api } = await context.daemon({ start: true })
      const { status, limit } = options
      const tasks = await api.tasks({ limit, ...(status !== undefined && { status }) })
      if (options.json) printJson(context, tasks)
      else if (tasks.length === 0) context.stdout.write('No tasks. Add one: ccm run "PROMPT"\n')
      else {
        const rows = tasks.map((task) => [
          task.id,
          task.status,
          task.status === 'running' ? (task.agent_state ?? '') : '',
          task.project,
          task.created_at.slice(0, 16).replace('T', ' '),
          oneLine(task.prompt, 60),
        ])
        const paint = createPaint(context.stdout, context.env)
        const header = ['ID', 'STATUS', 'AGENT', 'PROJECT', 'CREATED (UTC)', 'PROMPT']
        context.stdout.write(`${table(header, rows, paint, context.stdout).join('\n')}\n`)
      }
      done(EXIT.ok)
    })
