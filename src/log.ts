import { stripVTControlCharacters } from 'node:util'
import { pino, type DestinationStream, type Logger } from 'pino'
import { createRedactor, type Redactor } from './core/redact.ts'

/**
 * A logger that writes JSON lines, each at once, to stderr or to the end of `file` (made with its folder,
 * readable by its owner only); on a terminal short readable lines. Credentials are blotted out. A line is a
 * constant message with keys of this list only: taskId attempt pane window project claudeSessionId code
 * durationMs err.
 */
export function createLogger(options: {
  level: string
  file?: string
  /** Where lines go instead, for tests. */
  stream?: DestinationStream
  /** Whether `stream` or stderr is a terminal; found out unless told. */
  terminal?: boolean
  /** Knows the user's own secrets too; without it the known shapes go. */
  redactor?: Redactor
}): Logger {
  const { level, file, redactor = createRedactor() } = options
  const out = options.stream ?? openDestination(file)
  const terminal =
    options.terminal ?? (file === undefined && options.stream === undefined && process.stderr.isTTY)
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: (line) => redacted(line, redactor) },
    },
    terminal ? { write: (line: string) => out.write(readable(line)) } : out,
  )
}

function openDestination(file: string | undefined): DestinationStream {
  // What cannot be written is kept up to 1 MiB, then dropped.
  const common = { sync: true, maxLength: 1024 * 1024 }
  const out = pino.destination(
    file === undefined ? { dest: 2, ...common } : { dest: file, mkdir: true, mode: 0o600, ...common },
  )
  // A full disk or a closed terminal costs log lines, never the daemon.
  out.on('error', () => {})
  return out
}

/** By its parts, so that a line stays JSON. */
function redacted(line: string, redactor: Redactor): string {
  if (!redactor.mayHold(line)) return line
  try {
    return `${JSON.stringify(redactor.value(JSON.parse(line)))}\n`
  } catch {
    return redactor.text(line)
  }
}

/** One JSON line as `12:03:04 warn  message taskId=… err.message`. */
function readable(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown> & { msg?: string }
  const clock = String(time).slice(11, 19)
  const pairs = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const cause = typeof err === 'object' && err !== null && 'message' in err ? String(err.message) : ''
  const text = [clock, String(level).padEnd(5), msg ?? '', ...pairs, cause]
    .filter((part) => part !== '')
    .join(' ')
  // One line, and no escape sequence that text from elsewhere brought along.
  // oxlint-disable-next-line no-control-regex -- control characters are what is removed
  return `${stripVTControlCharacters(text).replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ')}\n`
}
