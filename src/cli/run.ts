import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { CcmError } from '../core/errors.ts'
import { promptFault } from '../core/task/task.ts'
import type { NewTaskBody } from '../protocol/new-task.ts'
import type { TaskJson } from '../protocol/task.ts'
import { createAnswer, createAskLine, waitHints } from './ask.ts'
import { printJson, type CliContext, type DefineCommand } from './context.ts'
import { EXIT, exitCodeOf } from './exit-code.ts'
import { readAll } from './read-all.ts'
import { follow } from './follow.ts'
import {
  collect,
  createCommand,
  parseAt,
  parseCost,
  parsePermissionMode,
  parsePriority,
  parseTimeout,
  parseTokens,
} from './parse.ts'
import { oneLine } from './printable.ts'
import { summaryLines } from './task-view.ts'
import { createLive, createPaint } from './terminal.ts'

/** The options of `ccm run` as commander reads them. */
export type RunOptions = {
  dir?: string
  project?: string
  template?: string
  var?: string[]
  role?: string
  model?: string
  priority?: number
  timeout?: number
  permissionMode?: NonNullable<NewTaskBody['permission_mode']>
  allow?: string[]
  deny?: string[]
  after?: string[]
  at?: number
  label?: string[]
  key?: string
  maxTokens?: number
  maxCost?: number
  trust?: boolean
  here?: boolean
  wait: boolean
  input: boolean
  json?: boolean
  /** False: nothing will be left to look at afterwards. */
  kept?: boolean
}

/** `ccm run`: gives the agent a task and follows it to its end. */
export const runCommand: DefineCommand = (context, done) =>
  createCommand('run', 'Give Claude Code a task and follow it to its end.', [
    'ccm run "Fix the failing test in parser.ts" --dir ~/code/app',
    'git diff | ccm run --json - > result.json',
    'ccm run -- "-v is printed twice: find out why"',
  ])
    .argument('[prompt]', 'what to do; "-" reads it from standard input; after "--" it may begin with "-"')
    .option('--dir <dir>', 'directory to work in (default: the current one)')
    .option('--project <name>', 'a registered project instead of a directory')
    .option('--template <name>', 'a template instead of a prompt: ccm templates')
    .option('--var <name=value>', 'a variable of the template; may be repeated', collect)
    .option('--role <role>', 'what kind of agent')
    .option('--model <model>', "Claude model (default: the project's, then the configuration's)")
    .option('--priority <n>', '-100 to 100, higher goes first', parsePriority)
    .option('--timeout <time>', 'longest time for an attempt: 90s, 30m, 1h30m', parseTimeout)
    .option('--permission-mode <mode>', "Claude Code's own permission mode", parsePermissionMode)
    .option('--allow <rule>', 'allow a tool, such as "Bash(npm test *)"; may be repeated', collect)
    .option('--deny <rule>', 'forbid a tool; may be repeated', collect)
    .option('--after <id>', 'start when this task has succeeded; may be repeated', collect)
    .option('--at <time>', 'start at 07:30, at "2030-01-31 07:30", or in 2h', parseAt)
    .option('--label <label>', 'only on a worker that has this label; may be repeated', collect)
    .option('--key <key>', 'join the queued or running task with this key instead of adding one')
    .option('--max-tokens <n>', 'budget of the task in tokens: 200000, 200k, 2M', parseTokens)
    .option('--max-cost <usd>', 'budget of the task in US dollars', parseCost)
    .option('--here', 'work in the directory itself, one agent at a time, instead of a git worktree')
    .option('--trust', 'trust the directory: its own hooks, servers and settings may run')
    .option('--no-wait', 'print the id and do not follow')
    .option('--no-input', 'ask nothing: exit 5 when a person is needed (implied off a terminal)')
    .addHelpText(
      'after',
      '\nExit codes: 0 succeeded, 1 failed, 2 usage, 3 cancelled, 4 dead (its worker was lost too often),\n' +
        '  5 waits for a person, 69 the daemon cannot be reached, 78 bad configuration,\n' +
        '  130 Ctrl-C: following ended and the task goes on (ccm show ID, ccm cancel ID).',
    )
    .action(async (prompt: string | undefined, options: RunOptions) =>
      done(await run(context, prompt, options)),
    )

/** Adds the task and follows it; answers the exit code. */
export async function run(
  context: CliContext,
  promptArgument: string | undefined,
  options: RunOptions,
): Promise<number> {
  const prompt = promptArgument === '-' ? await readAll(context.stdin) : promptArgument
  if ((prompt === undefined) === (options.template === undefined)) {
    const both = prompt === undefined ? '' : ', not both'
    throw new CcmError('BAD_INPUT', `It needs a prompt or a --template${both}.`, {
      remedy: 'See: ccm run --help',
    })
  }
  const fault = prompt === undefined ? null : promptFault(prompt)
  if (fault !== null) throw new CcmError('BAD_INPUT', fault, { remedy: 'See: ccm run --help' })

  const body = toBody(context.cwd, prompt, options)
  const { api } = await context.daemon({ start: true })
  const { task, inserted } = await api.createTask(body)
  const note = (sentence: string) => void context.stderr.write(`ccm: ${sentence}\n`)
  if (!inserted) note(`Task ${task.id} has this key and is ${task.status}; none was added.`)
  else if (options.at !== undefined && options.at < Date.parse(task.created_at)) {
    note(`${new Date(options.at).toISOString()} has passed: task ${task.id} starts now.`)
  }
  for (const notice of task.notices) note(oneLine(notice, 1000))
  if (!options.wait) {
    if (options.json) printJson(context, task)
    else context.stdout.write(`${task.id}\n`)
    return EXIT.ok
  }
  return followToEnd(context, task, {
    json: options.json === true,
    input: options.input,
    kept: options.kept !== false,
  })
}

/** Follows a task as `ccm run` does, prints its end and answers the exit code. */
export async function followToEnd(
  context: CliContext,
  first: TaskJson,
  options: { json: boolean; input: boolean; kept: boolean },
): Promise<number> {
  const { api } = await context.daemon({ start: false })
  const output = options.json ? context.stderr : context.stdout
  const paint = createPaint(output, context.env)
  // With --json, stdout belongs to the document; progress is for a person who watches stderr.
  const live = options.json && output.isTTY !== true ? null : createLive(output, paint)
  const person =
    options.input && context.stdin.isTTY === true && context.stdout.isTTY === true && output.isTTY === true
  const answer = person ? createAnswer(api, output, paint, createAskLine(context.stdin, output)) : null

  const detach = new AbortController()
  const offInterrupt = context.onInterrupt(() => detach.abort())
  live?.print(paint.dim(`Task ${first.id} in ${first.dir ?? first.project}`))
  const { why, task } = await follow(first, { api, live, paint, answer, signal: detach.signal }).finally(
    offInterrupt,
  )

  if (options.json) printJson(context, task)
  if (task.status !== 'queued' && task.status !== 'running') {
    live?.print(summaryLines(options.kept ? task : withoutTraces(task), paint).join('\n'))
    if (options.kept) live?.print(paint.dim(`  More: ccm show ${task.id}`))
    return exitCodeOf(task.status)
  }
  // Off a terminal a script's log must say why it ended, also with --json.
  const notice = live?.print ?? ((text: string) => void context.stderr.write(`${text}\n`))
  if (why === 'waits') {
    notice(waitHints(task, paint).join('\n'))
    return EXIT.waits
  }
  const id = task.id
  if (options.kept)
    notice(`\nThe task goes on. Look: ccm show ${id}   Watch: ccm attach ${id}   End it: ccm cancel ${id}`)
  return EXIT.detached
}

/** Without what leads to things that are gone in a moment: its session and its branch. */
function withoutTraces(task: TaskJson): TaskJson {
  return { ...task, workspace: null, result: task.result && { ...task.result, resume_command: null } }
}

/** The body of the request: an absolute real directory where there is one, else what was given. */
export function toBody<P extends string | undefined>(
  cwd: string,
  prompt: P,
  options: RunOptions,
): NewTaskBody & { prompt: P } {
  if (options.dir === '')
    throw new CcmError('BAD_INPUT', '--dir is empty.', { remedy: 'See: ccm run --help' })
  const dir = options.dir ?? (options.project === undefined ? '.' : undefined)
  return {
    prompt,
    ...(dir !== undefined && { dir: realDir(cwd, dir) }),
    ...(options.project !== undefined && { project: options.project }),
    ...(options.template !== undefined && { template: options.template }),
    ...(options.var !== undefined && { variables: variablesOf(options.var) }),
    ...(options.role !== undefined && { role: options.role }),
    ...(options.model !== undefined && { model: options.model }),
    ...(options.priority !== undefined && { priority: options.priority }),
    ...(options.timeout !== undefined && { timeout_s: options.timeout }),
    ...(options.permissionMode !== undefined && { permission_mode: options.permissionMode }),
    ...(options.allow !== undefined && { allowed_tools: options.allow }),
    ...(options.deny !== undefined && { disallowed_tools: options.deny }),
    ...(options.key !== undefined && { dedupe_key: options.key }),
    ...(options.after !== undefined && { depends_on: options.after }),
    ...(options.at !== undefined && { scheduled_at: new Date(options.at).toISOString() }),
    ...(options.label !== undefined && { labels: options.label }),
    ...(options.maxTokens !== undefined && { max_tokens: options.maxTokens }),
    ...(options.maxCost !== undefined && { max_cost_usd: options.maxCost }),
    source: 'cli',
    ...(options.here === true && { in_place: true }),
    ...(options.trust === true && { trust: true }),
  }
}

/** `name=value` words; what is after the first `=` is the value, whatever it holds. */
function variablesOf(words: string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const [, key = '', value = ''] = /^([^=]+)=([^]*)$/.exec(word) ?? []
      if (key !== '') return [key, value]
      throw new CcmError('BAD_INPUT', `The variable ${oneLine(word, 60)} is not NAME=VALUE.`, {
        remedy: 'See: ccm run --help',
      })
    }),
  )
}

/** The absolute path without links; what cannot be resolved goes as it is, and the daemon says what is wrong. */
export function realDir(cwd: string, dir: string): string {
  const absolute = resolve(cwd, dir)
  try {
    return realpathSync(absolute)
  } catch {
    return absolute
  }
}
