import { stripVTControlCharacters } from 'node:util'
import { pino, type DestinationStream, type Logger } from 'pino'
import { createRedactor, type Redactor } from '../core/redact.ts'

/**
 * A logger that writes JSON lines, each at once; on a terminal short readable ones. Credentials are blotted out. A
 * line is a constant message with keys of this list only: taskId attempt pane window project claudeSessionId code
 * durationMs requestId err.
 */
export function createLogger(options: {
  level: string
  /** Where lines go: see log-output.ts. */
  stream: DestinationStream
  /** A person reads along. */
  terminal?: boolean
  /** Knows the user's own secrets too; without it the known shapes go. */
  redactor?: Redactor
}): Logger {
  const { level, stream, terminal = false, redactor = createRedactor() } = options
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: (line) => redacted(line, redactor) },
    },
    terminal ? { write: (line: string) => stream.write(readable(line)) } : stream,
  )
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
