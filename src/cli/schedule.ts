import { Option } from 'commander'
import { promptFault } from '../core/task/task.ts'
import { CcmError } from '../core/errors.ts'
import { MISSED_POLICIES, type MissedPolicy } from '../core/task/schedule.ts'
import type { ScheduleJson } from '../protocol/schedule.ts'
import { printJson, type CliContext, type DefineCommand } from './context.ts'
import { showDuration } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { collect, createCommand, parsePermissionMode, parsePriority, parseTimeout } from './parse.ts'
import { oneLine, printable } from './printable.ts'
import { toBody, type RunOptions } from './run.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

type Options = { json?: boolean }
type AddOptions = Options &
  Pick<
    RunOptions,
    'dir' | 'project' | 'role' | 'model' | 'priority' | 'timeout' | 'permissionMode' | 'allow' | 'deny'
  > & {
    tz?: string
    missed: MissedPolicy
    overlap?: boolean
    name?: string
  }

/** `ccm schedule`: tasks that recur. */
export const scheduleCommand: DefineCommand = (context, done) => {
  const list = async (options: Options) => {
    const { api } = await context.daemon({ start: true })
    const schedules = await api.schedules()
    if (options.json) printJson(context, schedules)
    else if (schedules.length === 0) {
      context.stdout.write('No schedules. Add one: ccm schedule add "0 7 * * 1-5" "PROMPT" --dir DIR\n')
    } else {
      const rows = schedules.map((schedule) => [
        schedule.name,
        schedule.cron,
        schedule.paused ? 'paused' : showTime(schedule.next[0], schedule.time_zone),
        schedule.runs[0]?.outcome ?? '',
        schedule.project,
        oneLine(schedule.prompt),
      ])
      const header = ['NAME', 'TIMES', 'NEXT', 'LAST', 'PROJECT', 'PROMPT']
      const paint = createPaint(context.stdout, context.env)
      context.stdout.write(`${table(header, rows, paint, context.stdout).join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  const change = (name: 'pause' | 'resume' | 'remove', summary: string, said: string) =>
    createCommand(name, summary, [`ccm schedule ${name} nightly`])
      .argument('<name>', 'the name of the schedule, or its beginning')
      .action(async (given: string, options: Options) => {
        const { api } = await context.daemon({ start: true })
        const schedule = await api[`${name}Schedule`](given)
        if (options.json) printJson(context, schedule)
        else {
          const next = name === 'resume' ? `; next ${showTime(schedule.next[0], schedule.time_zone)}` : ''
          context.stdout.write(`The schedule ${schedule.name} ${said}${next}.\n`)
        }
        done(EXIT.ok)
      })

  return createGroup(
    'schedule',
    'List, add, pause and run tasks that recur.',
    ['ccm schedule add "0 7 * * 1-5" "Update the dependencies" --dir ~/code/app', 'ccm schedule list'],
    {
      alone: list,
      subcommands: [
        createCommand('list', 'List the schedules.', ['ccm schedule list']).action(list),
        createCommand('add', 'Add a task at each of these times.', [
          'ccm schedule add "0 7 * * 1-5" "Update the dependencies" --dir ~/code/app --tz Europe/Vienna',
          'ccm schedule add @daily "Read the issues of yesterday" --project app --missed run-once',
        ])
          .argument('<times>', 'minute hour day month weekday, as in cron, or @hourly, @daily, @weekly')
          .argument('<prompt>', 'what to do')
          .option('--name <name>', "its name (default: the project's with a number)")
          .option('--tz <zone>', "time zone of the times (default: this machine's)")
          .addOption(
            new Option('--missed <policy>', 'what becomes of times while no daemon runs')
              .choices([...MISSED_POLICIES])
              .default('skip'),
          )
          .option('--overlap', 'run also while the run before is not over')
          .option('--dir <dir>', 'directory to work in (default: the current one)')
          .option('--project <name>', 'a registered project instead of a directory')
          .option('--role <role>', 'what kind of agent')
          .option('--model <model>', 'Claude model')
          .option('--priority <n>', '-100 to 100, higher goes first', parsePriority)
          .option('--timeout <time>', 'longest time for an attempt: 90s, 30m, 1h30m', parseTimeout)
          .option('--permission-mode <mode>', "Claude Code's own permission mode", parsePermissionMode)
          .option('--allow <rule>', 'allow a tool; may be repeated', collect)
          .option('--deny <rule>', 'forbid a tool; may be repeated', collect)
          .action(async (cron: string, prompt: string, options: AddOptions) => {
            done(await add(context, cron, prompt, options))
          }),
        createCommand('show', 'Show a schedule: its next times, and what became of the last ones.', [
          'ccm schedule show nightly',
        ])
          .argument('<name>', 'the name of the schedule, or its beginning')
          .action(async (name: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            const schedule = await api.schedule(name)
            if (options.json) printJson(context, schedule)
            else context.stdout.write(`${scheduleLines(context, schedule).join('\n')}\n`)
            done(EXIT.ok)
          }),
        change('pause', 'Pause a schedule; times that pass meanwhile are not made up for.', 'is paused'),
        change('resume', 'Let a paused schedule go on.', 'goes on'),
        change('remove', 'Remove a schedule; tasks that it added stay.', 'is removed; its tasks stay'),
        createCommand('run', 'Add a task of the schedule now, besides its times.', [
          'ccm schedule run nightly',
        ])
          .argument('<name>', 'the name of the schedule, or its beginning')
          .action(async (name: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            const task = await api.runSchedule(name)
            if (options.json) printJson(context, task)
            else context.stdout.write(`${task.id}\n`)
            done(EXIT.ok)
          }),
      ],
    },
  )
}

async function add(context: CliContext, cron: string, prompt: string, options: AddOptions): Promise<number> {
  const fault = promptFault(prompt)
  if (fault !== null) throw new CcmError('BAD_INPUT', fault, { remedy: 'See: ccm schedule add --help' })
  const { api } = await context.daemon({ start: true })
  const { source: _, ...task } = toBody(context.cwd, prompt, { ...options, wait: true, input: false })
  const schedule = await api.addSchedule({
    ...task,
    cron,
    time_zone: options.tz ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    missed: options.missed,
    overlap: options.overlap === true,
    ...(options.name !== undefined && { name: options.name }),
  })
  if (options.json) printJson(context, schedule)
  else {
    const next = showTime(schedule.next[0], schedule.time_zone)
    context.stdout.write(`The schedule ${schedule.name} adds its first task ${next}.\n`)
    const project = await api.project(schedule.project)
    if (!project.trusted) {
      context.stdout.write(
        `${project.name} is not trusted yet, so its tasks will wait: ccm projects trust ${project.name}\n`,
      )
    }
  }
  return EXIT.ok
}

function scheduleLines(context: CliContext, schedule: ScheduleJson): string[] {
  const paint = createPaint(context.stdout, context.env)
  const row = (label: string, value: string | null) =>
    value === null ? [] : [`  ${paint.dim(label.padEnd(10))}${oneLine(value, 500)}`]
  const zone = schedule.time_zone
  return [
    `${paint.bold(schedule.name)}  ${schedule.cron}  ${zone}${schedule.paused ? paint.yellow('  paused') : ''}`,
    ...row('project', schedule.project),
    ...row('missed', schedule.missed),
    ...row('overlap', schedule.overlap ? 'yes' : null),
    ...row('role', schedule.role),
    ...row('model', schedule.model),
    ...row('priority', schedule.priority === null ? null : String(schedule.priority)),
    ...row('timeout', schedule.timeout_s === null ? null : showDuration(schedule.timeout_s * 1000)),
    ...row('mode', schedule.permission_mode),
    '',
    paint.bold('Prompt'),
    ...printable(schedule.prompt)
      .split('\n')
      .map((line) => `  ${line}`),
    ...(schedule.next.length > 0 ? ['', paint.bold('Next')] : []),
    ...schedule.next.map((at) => `  ${showTime(at, zone)}`),
    ...(schedule.runs.length > 0 ? ['', paint.bold('Before')] : []),
    ...schedule.runs.map(
      (run) =>
        `  ${showTime(run.due_at, zone)}  ${run.outcome.padEnd(7)}  ${run.task_id ?? ''}${run.reason === null ? '' : `  ${oneLine(run.reason)}`}`,
    ),
  ]
}

/** A time of the schedule's own zone, `Mon 2026-11-23 07:00 GMT+1`. */
function showTime(iso: string | undefined, timeZone: string): string {
  if (iso === undefined) return 'never'
  const at = new Date(iso)
  const day = at.toLocaleDateString('en-US', { timeZone, weekday: 'short' })
  const date = at.toLocaleDateString('sv-SE', { timeZone })
  const time = at.toLocaleTimeString('en-GB', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'shortOffset',
  })
  return `${day} ${date} ${time}`
}
