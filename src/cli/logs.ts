import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError } from 'commander'
import { CcmError } from '../core/errors.ts'
import { printJson, type DefineCommand } from './context.ts'
import { readSeconds } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createCommand, parseLimit } from './parse.ts'
import { oneLine } from './printable.ts'
import { createPaint, type Paint } from './terminal.ts'

const POLL_MS = 250
const CHUNK_BYTES = 64 * 1024
/** A longer line is no line of ours. */
const LINE_MAX_BYTES = 1024 * 1024

type Entry = { time: string | null; level: string; text: string; raw: unknown }

/** `ccm logs`: what the daemon in the background wrote. It needs no daemon, so it works after a crash. */
export const logsCommand: DefineCommand = (context, done) =>
  createCommand('logs', "Show the daemon's log; it needs no daemon.", [
    'ccm logs -f',
    'ccm logs --since 1h --json',
  ])
    .option('-f, --follow', 'go on with what is written from now on')
    .option('--since <when>', 'only lines since then: 10m, 2h or a time such as 2026-11-20T07:00', parseSince)
    .option('--limit <n>', 'the newest lines only', parseLimit, 200)
    .action(async (options: { follow?: boolean; since?: number; limit: number; json?: boolean }) => {
      const file = join((await context.config()).home, 'daemon.log')
      if (!existsSync(file)) {
        throw new CcmError('NOT_FOUND', `There is no log ${file}: no daemon ran in the background here.`, {
          remedy: 'A daemon in the foreground (ccm daemon) writes on its terminal.',
        })
      }
      const paint = createPaint(context.stdout, context.env)
      const wanted = ({ time }: Entry) =>
        options.since === undefined || time === null || new Date(time).getTime() >= options.since
      const print = (entry: Entry) =>
        void context.stdout.write(
          options.json ? `${JSON.stringify(entry.raw)}\n` : `${lineOf(entry, paint)}\n`,
        )

      let entries: Entry[] = []
      const reader = createReader(file)
      try {
        for (const line of reader.read()) {
          const entry = parseEntry(line)
          if (wanted(entry)) entries.push(entry)
          if (entries.length > 2 * options.limit) entries = entries.slice(-options.limit)
        }
        entries = entries.slice(-options.limit)
        if (options.json && !options.follow)
          printJson(
            context,
            entries.map(({ raw }) => raw),
          )
        else entries.forEach(print)
        if (!options.follow) return done(EXIT.ok)

        const leave = new AbortController()
        const offInterrupt = context.onInterrupt(() => leave.abort())
        while (!leave.signal.aborted) {
          for (const line of reader.read()) print(parseEntry(line))
          await sleep(POLL_MS, undefined, { signal: leave.signal }).catch(() => undefined)
        }
        offInterrupt()
        done(EXIT.detached)
      } finally {
        reader.close()
      }
    })

/** Whole lines of a file that grows; after it was replaced or cut, from its new beginning. */
function createReader(file: string) {
  let descriptor = openSync(file, 'r')
  let offset = 0
  let rest = Buffer.alloc(0)
  const isSame = () => {
    const now = statSync(file, { throwIfNoEntry: false })
    return now === undefined || now.ino === fstatSync(descriptor).ino
  }
  function* lines(): Generator<string> {
    const chunk = Buffer.alloc(CHUNK_BYTES)
    for (;;) {
      const size = readSync(descriptor, chunk, 0, chunk.length, offset)
      if (size === 0) return
      offset += size
      rest = Buffer.concat([rest, chunk.subarray(0, size)])
      for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
        yield rest.toString('utf8', 0, end)
        rest = rest.subarray(end + 1)
      }
      if (rest.length > LINE_MAX_BYTES) rest = Buffer.alloc(0)
    }
  }
  return {
    *read(): Generator<string> {
      if (fstatSync(descriptor).size < offset) [offset, rest] = [0, Buffer.alloc(0)]
      yield* lines()
      if (isSame()) return
      closeSync(descriptor)
      descriptor = openSync(file, 'r')
      ;[offset, rest] = [0, Buffer.alloc(0)]
      yield* lines()
    },
    close: () => closeSync(descriptor),
  }
}

function parseEntry(line: string): Entry {
  try {
    const raw = JSON.parse(line) as Record<string, unknown>
    if (typeof raw !== 'object' || raw === null || typeof raw['msg'] !== 'string') throw new Error('not ours')
    const { time, level, msg, err, ...fields } = raw
    const pairs = Object.entries(fields).map(
      ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    )
    const cause =
      typeof err === 'object' && err !== null && 'message' in err ? `: ${String(err.message)}` : ''
    return {
      time: typeof time === 'string' ? time : null,
      level: String(level),
      text: [`${msg}${cause}`, ...pairs].join('  '),
      raw,
    }
  } catch {
    // What Node or the start printed in plain words.
    return { time: null, level: '', text: line, raw: { msg: line } }
  }
}

function lineOf({ time, level, text }: Entry, paint: Paint): string {
  const words = oneLine(text, 2000)
  if (time === null) return words
  const painted =
    level === 'error' || level === 'fatal' ? paint.red : level === 'warn' ? paint.yellow : paint.dim
  return `${paint.dim(oneLine(time, 30))} ${painted(oneLine(level, 10).padEnd(5))} ${words}`
}

function parseSince(text: string): number {
  const seconds = readSeconds(text)
  if (seconds !== null) return Date.now() - seconds * 1000
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? new Date(text).getTime() : Number.NaN
  if (Number.isNaN(at)) {
    throw new InvalidArgumentError(
      'It must be a duration such as 10m or 2h, or a time such as 2026-11-20T07:00.',
    )
  }
  return at
}
