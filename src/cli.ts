import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { COMMANDS } from './cli/commands.ts'
import type { CliContext } from './cli/context.ts'
import { createDaemonAccess } from './cli/daemon-access.ts'
import { reportError, usageError } from './cli/report.ts'
import { EXIT } from './cli/exit-code.ts'
import { findPackageRoot } from './cli/package-root.ts'
import type { Config } from './config/config.ts'
import { CcmError } from './core/errors.ts'
import { nearestName } from './protocol/faults.ts'

const INTERRUPTS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Runs one command line (without `node` and the script) and answers the exit code; never throws. */
export async function main(argv: string[]): Promise<number> {
  const context = createContext(readCwd() ?? '')
  process.stdout.on('error', context.outputGone)
  process.stderr.on('error', context.outputGone)
  if (context.cwd !== '') return runCommandLine(argv, context)
  // The worktree of a task that is over, say. Another folder in its place could be worked in.
  const gone = new CcmError('DIR_UNUSABLE', 'The current folder does not exist any more.', {
    remedy: 'Go to one that does: cd',
  })
  return reportError(context, gone, argv.slice(0, endOfOptions(argv)).includes('--json'))
}

function readCwd(): string | null {
  try {
    return process.cwd()
  } catch {
    return null
  }
}

/** As `main`, in a context of the caller's choice. */
export async function runCommandLine(given: string[], outer: CliContext): Promise<number> {
  const { argv, context } = withColor(given, outer)
  const wantsJson = argv.slice(0, endOfOptions(argv)).includes('--json')
  let code: number = EXIT.ok
  let program: Command | null = null
  try {
    // Asked by the script of `ccm completion`, with the words typed so far behind `--`.
    if (argv[0] === 'complete') {
      const { complete } = await import('./cli/complete.ts')
      await complete(context, argv.slice(argv[1] === '--' ? 2 : 1), {
        summaries: Object.fromEntries(Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary])),
        load: async (name) => (await COMMANDS[name]?.load())?.(context, () => {}) ?? null,
      })
      return EXIT.ok
    }
    const words = argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
    const name = words.find((word) => !word.startsWith('-')) ?? null
    program = await createProgram(name, context, (end) => (code = end))
    if (words.length === 0) {
      program.outputHelp()
      return EXIT.ok
    }
    await program.parseAsync(words, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
    const known = error instanceof CommanderError ? usageError(error, commandOf(program, argv)) : error
    return reportError(context, known, wantsJson)
  }
}

/** The words of a command line that name its command: `run`, or `keys create`; [] where they name none. */
function commandOf(program: Command | null, argv: string[]): string[] {
  const path: string[] = []
  let at = program
  for (const word of argv.filter((word) => !word.startsWith('-'))) {
    at = at?.commands.find((command) => command.name() === word) ?? null
    if (at === null) break
    path.push(word)
  }
  return path
}

async function createProgram(
  name: string | null,
  context: CliContext,
  done: (code: number) => void,
): Promise<Command> {
  const { version } = findPackageRoot(import.meta.url)
  const program = new Command('ccm')
    .description(
      'Supervises Claude Code agents: a task goes in, the real claude works in tmux, a result comes out.',
    )
    .version(version, '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show this help')
    .addHelpText(
      'after',
      '\n  --color[=WHEN]  colours: always (without WHEN), never, auto; NO_COLOR counts too\n\nExample:\n  ccm run "Fix the failing test in parser.ts" --dir ~/code/app\n\nMore: ccm COMMAND --help',
    )
    .enablePositionalOptions()
    .exitOverride()
  const known = Object.entries(COMMANDS)
  if (name !== null && !Object.hasOwn(COMMANDS, name)) throw unknownCommand(name)
  for (const [command, { summary, load }] of known) {
    const define = command === name ? await load() : null
    program.addCommand(define === null ? new Command(command).description(summary) : define(context, done))
  }
  quieten(program, context)
  return program
}

// Commander would print its own words and end the process; both are ours to do.
function quieten(command: Command, context: CliContext): void {
  command.exitOverride().showSuggestionAfterError(true)
  command.configureOutput({
    writeOut: (text) => void context.stdout.write(text),
    writeErr: () => {},
    getOutHelpWidth: () => context.stdout.columns ?? 100,
  })
  for (const child of command.commands) quieten(child, context)
}

function unknownCommand(name: string): CommanderError {
  const near = nearestName(name, Object.keys(COMMANDS))
  const hint = near === null ? '' : `; did you mean "${near}"?`
  const shown = JSON.stringify(name.length > 40 ? `${name.slice(0, 39)}…` : name)
  return new CommanderError(EXIT.usage, 'ccm.unknownCommand', `There is no command ${shown}${hint}`)
}

/** `--color[=always|never|auto]` and `--no-color` count anywhere before `--`, and over what the environment says. */
function withColor(argv: string[], context: CliContext): { argv: string[]; context: CliContext } {
  const end = endOfOptions(argv)
  const isColor = (word: string, index: number) =>
    index < end && argv[0] !== 'complete' && /^--(no-color|color(=(always|never|auto))?)$/.test(word)
  const word = argv.findLast(isColor)
  if (word === undefined) return { argv, context }
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = context.env
  const rest = argv.filter((word, index) => !isColor(word, index))
  if (word === '--color=auto') return { argv: rest, context: { ...context, env } }
  const colors = /no-color|never/.test(word) ? { NO_COLOR: '1' } : { FORCE_COLOR: '1' }
  return { argv: rest, context: { ...context, env: { ...env, ...colors } } }
}

function endOfOptions(argv: string[]): number {
  const end = argv.indexOf('--')
  return end === -1 ? argv.length : end
}

function createContext(cwd: string): CliContext & { outputGone: (error: NodeJS.ErrnoException) => void } {
  const { env, stdin, stdout, stderr } = process
  let config: Promise<Config> | null = null
  const loadConfig = () =>
    (config ??= import('./config/load.ts').then((module) => module.loadConfig(env, cwd)))
  const listeners = new Set<() => void>()
  const interrupt = () => listeners.forEach((listener) => listener())
  const launcher = [process.execPath, join(findPackageRoot(import.meta.url).folder, 'bin', 'ccm.js')]
  const access = createDaemonAccess(
    async () => (await import('./config/sources.ts')).readHome(env, cwd, [], {}),
    async () => {
      const { home, file, daemon } = await loadConfig()
      const onWait = () => {
        if (stderr.isTTY) stderr.write('Starting the daemon …\n')
      }
      const keeper = daemon.restart
        ? join(findPackageRoot(import.meta.url).folder, 'bin/keep-daemon.sh')
        : null
      const service = async () => (await import('./service/start.ts')).serviceStart(home, env)
      return { home, configFile: file, launcher, keeper, service, env, onWait }
    },
    { autostart: env['CCM_NO_AUTOSTART'] !== '1' },
  )
  return {
    env,
    cwd,
    stdin,
    stdout,
    stderr,
    launcher,
    ...access,
    config: loadConfig,
    async findClaude({ claude }) {
      const { findClaude } = await import('./agent/claude.ts')
      return findClaude({ command: claude.command ?? '', path: claude.env['PATH'] ?? env['PATH'] ?? '' })
    },
    async supabase() {
      const config = await loadConfig()
      const { readSecret } = await import('./config/secrets.ts')
      if (config.supabase === null) return null
      const { url, system } = config.supabase
      const secretKey = await readSecret('supabase.secret_key', config.supabase.secretKey, env)
      return secretKey === null ? null : { url, system, secretKey }
    },
    claudeCommand: async () => (await loadConfig()).claude.command,
    async runDaemon(options) {
      const { runDaemon } = await import('./main.ts')
      const first = await loadConfig()
      const { loadConfig: read } = await import('./config/load.ts')
      return runDaemon(first, { ...options, reload: () => read(env, cwd) })
    },
    async hostTmux() {
      const { hostTmux } = await import('./daemon/tmux-host.ts')
      return hostTmux(await loadConfig())
    },
    async homeOf(user) {
      const other = user === null || user === env['USER'] ? null : homeOfUser(user)
      if (other === null) {
        const { home, file } = await loadConfig()
        return { home, configFile: file }
      }
      // The caller's own folders are not that user's; what was named on purpose is.
      const { loadConfig: read } = await import('./config/load.ts')
      const { CCM_HOME, CCM_CONFIG } = env
      const { home, file } = read({ HOME: other, CCM_HOME, CCM_CONFIG }, other)
      return { home, configFile: file }
    },
    onInterrupt(listener) {
      if (listeners.size === 0) for (const signal of INTERRUPTS) process.on(signal, interrupt)
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) for (const signal of INTERRUPTS) process.off(signal, interrupt)
      }
    },
    // A reader that went away, as in `ccm events ID | head -1`, or a closed terminal: end as after Ctrl-C.
    outputGone(error) {
      if (error.code !== 'EPIPE' && error.code !== 'EIO') {
        stderr.write(`ccm: The output cannot be written: ${error.message}\n`)
        process.exit(EXIT.failed)
      }
      if (listeners.size === 0) process.exit(EXIT.ok)
      interrupt()
    },
  }
}

/** A user's home folder, as the machine knows it. */
function homeOfUser(user: string): string {
  const entry = execFileSync('getent', ['passwd', '--', user], { encoding: 'utf8' }).trim()
  return entry.split(':')[5] ?? '/'
}
