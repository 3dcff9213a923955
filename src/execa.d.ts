// The part of execa 10 that ccm uses. The package's own types compute each result from its options, which is half
// of the compiler's time: 43 s of CPU for the whole project with them, 25 s with these.
declare module 'execa' {
  import type { Readable, Writable } from 'node:stream'

  type Stdio = 'pipe' | 'ignore' | 'inherit'

  export type Options = {
    cwd?: string
    env?: Readonly<Record<string, string | undefined>>
    /** False: `env` is the whole environment. */
    extendEnv?: boolean
    input?: string | Uint8Array
    stdin?: Stdio
    stdout?: Stdio
    stderr?: Stdio
    stdio?: Stdio
    buffer?: boolean
    encoding?: 'utf8' | 'buffer'
    stripFinalNewline?: boolean
    /** Of each stream, in characters or bytes. */
    maxBuffer?: number
    /** False: a failure is a result, not an error. */
    reject?: boolean
    timeout?: number
    killSignal?: NodeJS.Signals
    forceKillAfterDelay?: number | boolean
    cancelSignal?: AbortSignal
    detached?: boolean
    cleanup?: boolean
    all?: boolean
  }

  export type Result = {
    stdout: string
    stderr: string
    /** Undefined where a signal ended it, or where it did not start. */
    exitCode?: number
    signal?: NodeJS.Signals
    failed: boolean
    timedOut: boolean
    isCanceled: boolean
    isMaxBuffer: boolean
    isTerminated: boolean
    code?: string
    message?: string
    shortMessage?: string
    originalMessage?: string
    cause?: unknown
  }

  /** A stream is there only where it is a pipe, which it is unless the options say otherwise. */
  export type Child = Promise<Result> & {
    pid?: number
    stdin: Writable
    stdout: Readable
    stderr: Readable
    kill: (signal?: NodeJS.Signals) => boolean
    on: (event: 'spawn' | 'exit' | 'error', listener: () => void) => unknown
  }

  export function execa(file: string, args: readonly string[], options?: Options): Child
  export function execaSync(file: string, args: readonly string[], options?: Options): Result
}
