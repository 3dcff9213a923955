import type { Argument, Command, Option } from 'commander'
import { isFinal, PERMISSION_MODES, TASK_STATUSES } from '../core/task/task.ts'
import type { TaskSummaryJson } from '../protocol/task.ts'
import type { CliContext } from './context.ts'
import { oneLine } from './printable.ts'

/** One word that could follow; `:dirs` and `:files` leave it to the shell. */
type Candidate = { value: string; about: string }

/** What the program is made of, as the root knows it. */
export type Commands = { summaries: Record<string, string>; load: (name: string) => Promise<Command | null> }

/**
 * A shell waits for it at every Tab, so a daemon that does not answer is left alone. 300 ms were too few on two cores that
 * agents kept busy (a load average of 17).
 */
const LIVE_MS = 1000
const LIVE_TASKS = 100

/**
 * Prints what could stand in place of the last of `words`, one a line with a description behind a tab. Asks a
 * daemon that runs, starts none, and never fails: a Tab that finds nothing is silent.
 */
export async function complete(context: CliContext, words: string[], commands: Commands): Promise<void> {
  const found = await candidatesFor(context, words, commands).catch((): Candidate[] => [])
  for (const { value, about } of found) {
    context.stdout.write(about === '' ? `${value}\n` : `${value}\t${oneLine(about, 70)}\n`)
  }
}

async function candidatesFor(context: CliContext, given: string[], commands: Commands): Promise<Candidate[]> {
  const words = joined(given)
  const current = words.at(-1) ?? ''
  const [name, ...rest] = words.slice(0, -1)
  if (name === undefined || name === 'help') {
    return startingWith(current, named(commands.summaries))
  }
  const top = Object.hasOwn(commands.summaries, name) ? await commands.load(name) : null
  if (top === null) return []
  const { command, before, valueOf } = walk(top, rest)
  if (valueOf !== null) return startingWith(current, await valuesOf(context, valueOf))
  const [, flag, part] = /^(--[\w-]+)=(.*)$/s.exec(current) ?? []
  if (flag !== undefined && part !== undefined) {
    const option = command.options.find(({ long }) => long === flag)
    if (option === undefined) return []
    const values = startingWith(part, await valuesOf(context, option))
    // Where the shell broke the word at `=`, it wants the part behind it only.
    return given.includes('=')
      ? values
      : values.map(({ value, about }) => ({ value: `${flag}=${value}`, about }))
  }
  if (current.startsWith('-')) {
    const options = command.options.filter(({ hidden }) => !hidden)
    const flags = options.map(({ long, short, description }) => ({
      value: long ?? short ?? '',
      about: description,
    }))
    return startingWith(current, [...flags, { value: '--help', about: 'show this help' }])
  }
  const subcommands = before.length === 0 ? command.commands : []
  if (subcommands.length > 0) {
    const about = subcommands.map((sub) => [sub.name(), sub.description()] as const)
    return startingWith(current, named(Object.fromEntries(about)))
  }
  const argument = command.registeredArguments[before.length] ?? command.registeredArguments.at(-1)
  if (argument === undefined || (before.length >= command.registeredArguments.length && !argument.variadic))
    return []
  return startingWith(current, await argumentsOf(context, argument, command, top))
}

/** The command that the words lead to, the positional words before the current one, and an option that waits for its value. */
function walk(top: Command, words: string[]): { command: Command; before: string[]; valueOf: Option | null } {
  let command = top
  let valueOf: Option | null = null
  const before: string[] = []
  for (const word of words) {
    if (valueOf !== null) {
      valueOf = null
      continue
    }
    const option = command.options.find(({ long, short }) => word === long || word === short)
    if (option !== undefined) {
      if (option.required) valueOf = option
      continue
    }
    if (word.startsWith('-') && word !== '-') continue
    const sub = before.length === 0 ? command.commands.find((sub) => sub.name() === word) : undefined
    if (sub === undefined) before.push(word)
    else command = sub
  }
  return { command, before, valueOf }
}

/** bash breaks a word at `=`: `--status`, `=`, `run`. */
function joined(words: string[]): string[] {
  const whole: string[] = []
  for (const [index, word] of words.entries()) {
    const last = whole.at(-1)
    if (last?.startsWith('--') && (word === '=' || words[index - 1] === '='))
      whole[whole.length - 1] = `${last}${word}`
    else whole.push(word)
  }
  return whole
}

async function valuesOf(context: CliContext, option: Option): Promise<Candidate[]> {
  if (option.argChoices !== undefined) return option.argChoices.map((value) => ({ value, about: '' }))
  const kind = option.long
  if (kind === '--project') return projects(context)
  if (kind === '--after') return tasks(context, () => true)
  if (kind === '--dir') return [{ value: ':dirs', about: '' }]
  if (kind === '--permission-mode') return PERMISSION_MODES.map((value) => ({ value, about: '' }))
  return kind === '--status' ? TASK_STATUSES.map((value) => ({ value, about: '' })) : []
}

const WANTED: Record<string, (task: TaskSummaryJson) => boolean> = {
  approve: ({ waiting_for }) => waiting_for !== null,
  deny: ({ waiting_for }) => waiting_for !== null,
  send: ({ status }) => status === 'running',
  attach: ({ status }) => status === 'running',
  cancel: ({ status }) => !isFinal(status),
  retry: ({ status }) => isFinal(status) && status !== 'succeeded',
}

async function argumentsOf(
  context: CliContext,
  argument: Argument,
  command: Command,
  top: Command,
): Promise<Candidate[]> {
  if (argument.argChoices !== undefined) return argument.argChoices.map((value) => ({ value, about: '' }))
  const name = argument.name()
  if (name === 'id') return tasks(context, WANTED[command.name()] ?? (() => true))
  if (name === 'dir') return [{ value: ':dirs', about: '' }]
  if (name === 'name' && top.name() === 'projects') return projects(context)
  if (name === 'name' && top.name() === 'schedule') return schedules(context)
  if (name.startsWith('key=') && top.name() === 'projects') {
    const { PROJECT_SETTING_NAMES } = await import('../protocol/project.ts')
    return PROJECT_SETTING_NAMES.map((setting) => ({ value: `${setting}=`, about: '' }))
  }
  return []
}

type Api = NonNullable<Awaited<ReturnType<CliContext['findDaemon']>>>['api']

async function live<T>(context: CliContext, ask: (api: Api) => Promise<T[]>): Promise<T[]> {
  const asked = context
    .findDaemon()
    .catch(() => null)
    .then((daemon) => (daemon === null ? [] : ask(daemon.api)))
  const late = new Promise<T[]>((resolve) => setTimeout(resolve, LIVE_MS, []).unref())
  return Promise.race([asked, late])
}

const tasks = (context: CliContext, wanted: (task: TaskSummaryJson) => boolean) =>
  live(context, async (api) =>
    (await api.tasks({ limit: LIVE_TASKS }))
      .filter(wanted)
      .map(({ id, status, prompt }) => ({ value: id, about: `${status}: ${prompt}` })),
  )
const projects = (context: CliContext) =>
  live(context, async (api) => (await api.projects()).map(({ name, dir }) => ({ value: name, about: dir })))
const schedules = (context: CliContext) =>
  live(context, async (api) =>
    (await api.schedules()).map(({ name, cron, prompt }) => ({ value: name, about: `${cron}: ${prompt}` })),
  )

function named(summaries: Record<string, string>): Candidate[] {
  return Object.entries(summaries).map(([value, about]) => ({ value, about }))
}

function startingWith(prefix: string, candidates: Candidate[]): Candidate[] {
  return candidates.filter(({ value }) => value.startsWith(':') || value.startsWith(prefix))
}
