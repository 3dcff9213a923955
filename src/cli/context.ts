import type { CcmError } from '../core/errors.ts'
import type { Readable } from 'node:stream'
import type { Command } from 'commander'
import type { DaemonClient } from '../client/daemon-client.ts'
import { toJsonText } from './printable.ts'
import type { Output } from './terminal.ts'

/** A running daemon as a command reaches it. */
type Daemon = { pid: number; api: DaemonClient }

/** How the daemon part of this program is started in this process; the composition root provides it. */
type RunDaemon = (options: { background: boolean }) => Promise<number>

/** The configuration as commands see it; `origins` and `values` by key as in the file. */
export type ConfigView = {
  home: string
  /** null: no file was found. */
  file: string | null
  http: { host: string; port: number }
  claude: { command: string | null; env: Record<string, string> }
  /** `file` null: `daemon.log` in the home. */
  log: { file: string | null }
  origins: Record<
    string,
    { from: 'default' } | { from: 'file'; file: string } | { from: 'environment'; variable: string }
  >
  /** Durations are text, `5m` say. May hold secrets. */
  values: Record<string, unknown>
}

/** Everything a command may touch. Commands print on these streams and answer an exit code. */
export type CliContext = {
  env: Record<string, string | undefined>
  cwd: string
  stdin: Readable & { isTTY?: boolean }
  stdout: Output
  stderr: Output
  /** Program and arguments that run this very `ccm`. */
  launcher: string[]
  /** The effective configuration. Throws CcmError BAD_CONFIG with every fault. */
  config: () => Promise<ConfigView>
  /** The shared queue as it is configured; null: there is none. Throws BAD_CONFIG where its key cannot be had. */
  supabase: () => Promise<{ url: string; secretKey: string; system: string } | null>
  /** Claude Code as the daemon would find it. Throws CLAUDE_MISSING or CLAUDE_TOO_OLD. */
  findClaude: (config: ConfigView) => Promise<{ path: string; version: string }>
  /** The configured `claude` program, null for the usual search. Throws CcmError BAD_CONFIG. */
  claudeCommand: () => Promise<string | null>
  /**
   * The daemon of this home; `start` starts one when there is none, else that is DAEMON_UNREACHABLE.
   * `asked`: a person asked for the start itself, so CCM_NO_AUTOSTART does not forbid it. `fresh`: whatever was
   * known is no longer true.
   */
  daemon: (options: { start: boolean; asked?: boolean; fresh?: boolean }) => Promise<Daemon>
  /** The daemon of this home, or null when none answers. */
  findDaemon: () => Promise<Daemon | null>
  /** Where none answers: what to say of one that lives all the same; null when none does. */
  silentDaemon: () => Promise<CcmError | null>
  /** Throws DAEMON_UNREACHABLE where the daemon of this home cannot be started from: inside an agent. */
  mayStart: () => Promise<void>
  /** Pid of the shell that starts the daemon of this home again when it died; null when none runs. */
  keeper: () => Promise<number | null>
  runDaemon: RunDaemon
  /** Starts the tmux server of the agents in this process's control group; the answer is an exit code. */
  hostTmux: () => Promise<number>
  /** Home and configuration file; of another user's ccm where a name is given that is not the caller's. */
  homeOf: (user: string | null) => Promise<{ home: string; configFile: string | null }>
  /** Calls back at SIGINT, SIGTERM and SIGHUP instead of ending; the answer switches that off again. */
  onInterrupt: (listener: () => void) => () => void
}

/** Describes one command: its arguments, options, help and action. The action answers the exit code. */
export type DefineCommand = (context: CliContext, done: (code: number) => void) => Command

/** Prints one JSON document on stdout, indented. */
export function printJson(context: CliContext, document: unknown): void {
  context.stdout.write(`${toJsonText(document, 2)}\n`)
}

/** Prints one JSON document on one line, for lists that go on. */
export function printJsonLine(context: CliContext, document: unknown): void {
  context.stdout.write(`${toJsonText(document)}\n`)
}
