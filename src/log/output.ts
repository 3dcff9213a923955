import { spawn, type ChildProcess } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { isatty } from 'node:tty'
import { createLineWriter, type LineWriter } from './writer.ts'

/** Where the log goes, besides stderr: see `[log]`. */
export type LogSettings = {
  /** A file instead of stderr, numbered as it rolls: `ccm.log` becomes `ccm.1.log`; null: stderr. */
  file: string | null
  maxBytes: number
  /** How many old files are kept. */
  keep: number
  /** To the machine's syslog too. */
  syslog: boolean
}

export type LogOutput = LineWriter & { terminal: boolean }

const STDERR = 2
/** How often the size of a file is looked at. */
const LOOK_EVERY_BYTES = 64 * 1024
const SYSLOG_KEPT_MAX_BYTES = 1024 * 1024
const SYSLOG_AGAIN_MS = 5000

/** Severities of syslog, which systemd's journal reads too. */
const SEVERITIES: Record<string, number> = { fatal: 2, error: 3, warn: 4, info: 6, debug: 7, trace: 7 }

/** Opens what `[log]` asks for. Throws when the folder of its file cannot be made. */
export async function openLogOutput(
  settings: LogSettings,
  home: string,
  env: Record<string, string | undefined>,
): Promise<LogOutput> {
  const main =
    settings.file === null ? stderrOutput(settings, home, env) : await fileOutput(settings, settings.file)
  if (!settings.syslog) return main
  const syslog = createSyslog()
  return {
    terminal: main.terminal,
    write(line) {
      main.write(line)
      syslog.write(line)
    },
  }
}

function stderrOutput(
  settings: LogSettings,
  home: string,
  env: Record<string, string | undefined>,
): LogOutput {
  const writer = createLineWriter(STDERR)
  const kind = fstatSync(STDERR)
  // So systemd says that it reads this very stream, and what it understands.
  if (env['JOURNAL_STREAM'] === `${kind.dev}:${kind.ino}`)
    return { terminal: false, write: (line) => writer.write(`<${severityOf(line)}>${line}`) }
  const file = join(home, 'daemon.log')
  if (!kind.isFile() || statSync(file, { throwIfNoEntry: false })?.ino !== kind.ino)
    return { terminal: isatty(STDERR), write: writer.write }
  const roll = createRolling(
    () => fstatSync(STDERR).size,
    settings.maxBytes,
    () => rollOver(STDERR, file, settings.keep),
  )
  return {
    terminal: false,
    write(line) {
      writer.write(line)
      roll(line.length)
    },
  }
}

/** pino-roll writes elsewhere than on this thread's time, so a slow disk holds nobody. */
async function fileOutput(settings: LogSettings, file: string): Promise<LogOutput> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const { default: openRolling } = await import('pino-roll')
  const stream = await openRolling({
    file,
    size: Math.max(1, settings.maxBytes / 1024 / 1024),
    // It counts the file in use too.
    limit: { count: settings.keep + 1, removeOtherLogFiles: true },
    mode: 0o600,
    sync: false,
    maxLength: 1024 * 1024,
  })
  stream.on('error', () => undefined)
  return { terminal: false, write: (line) => void stream.write(line) }
}

function createRolling(
  size: () => number,
  maxBytes: number,
  rollOver: () => void,
): (written: number) => void {
  // At the start too: a daemon that begins again and again writes little each time.
  let unseen = Number.POSITIVE_INFINITY
  return (written) => {
    unseen += written
    if (unseen < Math.min(LOOK_EVERY_BYTES, maxBytes / 4)) return
    unseen = 0
    try {
      if (size() > maxBytes) rollOver()
    } catch {
      // A full disk, say: the file goes on as it is.
    }
  }
}

/**
 * The shell that keeps the daemon has this file open too, to append to it. So it is copied and emptied in place, and
 * not renamed. Nobody else of this process writes meanwhile; the shell writes only while no daemon lives.
 */
function rollOver(descriptor: number, file: string, keep: number): void {
  for (let number = keep; number >= 1; number--) {
    const from = number === 1 ? file : `${file}.${number - 1}`
    if (!existsSync(from)) continue
    if (number === 1) copyFileSync(from, `${file}.1`)
    else renameSync(from, `${file}.${number}`)
  }
  rmSync(`${file}.${keep + 1}`, { force: true })
  ftruncateSync(descriptor)
}

/** Through the machine's own `logger`: Node has no datagram sockets of that kind. Without one nothing happens. */
function createSyslog(): LineWriter {
  let child: ChildProcess | null = null
  let diedAt = 0
  const begin = (): ChildProcess | null => {
    if (Date.now() - diedAt < SYSLOG_AGAIN_MS) return null
    // Its severity in front of each line is util-linux's way; elsewhere all lines have one.
    const args = process.platform === 'linux' ? ['--prio-prefix', '--size', '16KiB'] : ['-p', 'daemon.info']
    const begun = spawn('logger', ['-t', 'ccm', ...args], { stdio: ['pipe', 'ignore', 'ignore'] })
    const over = () => {
      diedAt = Date.now()
      child = null
    }
    begun.on('error', over)
    begun.on('exit', over)
    begun.stdin.on('error', () => undefined)
    begun.unref()
    return begun
  }
  return {
    write(line) {
      child ??= begin()
      const input = child?.stdin
      if (!input || input.writableLength > SYSLOG_KEPT_MAX_BYTES) return
      input.write(process.platform === 'linux' ? `<${24 + severityOf(line)}>${line}` : line)
    },
  }
}

/** pino writes the level first. */
function severityOf(line: string): number {
  return SEVERITIES[/^\{"level":"(\w+)"/.exec(line)?.[1] ?? ''] ?? 6
}
