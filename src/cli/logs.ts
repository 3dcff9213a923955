import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError } from 'commander'
import { CcmError } from '../core/errors.ts'
import { printJson, printJsonLine, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand, parseLimit, parsePast } from './parse.ts'
import { oneLine } from './printable.ts'
import { createPaint, type Paint } from './terminal.ts'

const POLL_MS = 250
const CHUNK_BYTES = 64 * 1024
/** A longer line is no line of ours. */
const LINE_MAX_BYTES = 1024 * 1024

type Entry = { time: string | null; level: string; taskId: string | null; text: string; raw: unknown }

type Options = { follow?: boolean; since?: number; task?: string; limit: number; json?: boolean }

/** `ccm logs`: what the daemon in the background wrote. It needs no daemon, so it works after a crash. */
export const logsCommand: DefineCommand = (context, done) =>
  createCommand('logs', "Show the daemon's log; it needs no daemon.", [
    'ccm logs -f --task 0198c1a2',
    'ccm logs --since 1h --json',
  ])
    .option('-f, --follow', 'go on with what is written from now on')
    .option('--since <when>', 'only lines since then: 10m, 2h or a time such as 2026-11-20T07:00', parsePast)
    .option('--task <id>', 'only lines about this task; the beginning of its id will do', parseTask)
    .option('--limit <n>', 'the newest lines only', parseLimit, 200)
    .action(async (options: Options) => {
      const { home, log } = await context.config()
      const files = () => (log.file === null ? filesInHome(home) : numberedFiles(log.file))
      if (files().length === 0) {
        const file = log.file ?? join(home, 'daemon.log')
        throw new CcmError('NOT_FOUND', `There is no log ${file}: no daemon ran in the background here.`, {
          remedy: 'A daemon in the foreground (ccm daemon) writes on its terminal.',
        })
      }
      const paint = createPaint(context.stdout, context.env)
      const wanted = ({ time, taskId }: Entry) =>
        (options.since === undefined || time === null || new Date(time).getTime() >= options.since) &&
        (options.task === undefined || taskId?.startsWith(options.task) === true)
      const print = (entry: Entry) =>
        options.json
          ? printJsonLine(context, entry.raw)
          : void context.stdout.write(`${lineOf(entry, paint)}\n`)

      let entries: Entry[] = []
      const reader = createReader(files)
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
          for (const line of reader.read()) {
            const entry = parseEntry(line)
            if (wanted(entry)) print(entry)
          }
          await sleep(POLL_MS, undefined, { signal: leave.signal }).catch(() => undefined)
        }
        offInterrupt()
        done(EXIT.detached)
      } finally {
        reader.close()
      }
    })

/** The log of the daemon in the background, oldest file first. */
function filesInHome(home: string): string[] {
  const file = join(home, 'daemon.log')
  const old = readNames(home)
    .flatMap((name) => /^daemon\.log\.(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a)
  return [...old.map((number) => `${file}.${number}`), ...(existsSync(file) ? [file] : [])]
}

/** `ccm.log` is written as `ccm.1.log`, `ccm.2.log`, … */
function numberedFiles(file: string): string[] {
  const extension = extname(file)
  const name = basename(file, extension)
  return readNames(dirname(file))
    .filter((found) => found.startsWith(`${name}.`) && found.endsWith(extension))
    .map((found) => ({
      found,
      number: Number(found.slice(name.length + 1, found.length - extension.length)),
    }))
    .filter(({ number }) => Number.isInteger(number))
    .sort((a, b) => a.number - b.number)
    .map(({ found }) => join(dirname(file), found))
}

function readNames(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/**
 * Whole lines of files that grow and roll over: all of them once, then what is added. A file that was emptied in
 * place went on under the name of the one before it.
 */
function createReader(files: () => string[]) {
  let seen = files()
  let current = ''
  let descriptor: number | null = null
  let offset = 0
  let rest = Buffer.alloc(0)

  function open(file: string, from: number): void {
    if (descriptor !== null) closeSync(descriptor)
    descriptor = openSync(file, 'r')
    ;[current, offset, rest] = [file, from, Buffer.alloc(0)]
  }

  function* lines(): Generator<string> {
    if (descriptor === null) return
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

  function* read(): Generator<string> {
    if (descriptor === null) {
      for (const file of seen) {
        open(file, 0)
        yield* lines()
      }
      return
    }
    const copy = `${current}.1`
    if (fstatSync(descriptor).size < offset) {
      const emptied = current
      if ((statSync(copy, { throwIfNoEntry: false })?.size ?? 0) >= offset) {
        const kept = rest
        open(copy, offset)
        rest = kept
        yield* lines()
      }
      open(emptied, 0)
    }
    yield* lines()
    seen = files()
    // Another file stands where this one was, or the next number was begun.
    const next = seen.slice(seen.indexOf(current) + 1)
    const now = statSync(current, { throwIfNoEntry: false })
    if (now !== undefined && now.ino !== fstatSync(descriptor).ino) next.unshift(current)
    for (const file of next) {
      open(file, 0)
      yield* lines()
    }
  }
  return {
    read,
    close: () => {
      if (descriptor !== null) closeSync(descriptor)
    },
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
      taskId: typeof raw['taskId'] === 'string' ? raw['taskId'] : null,
      text: [`${msg}${cause}`, ...pairs].join('  '),
      raw,
    }
  } catch {
    // What Node or the start printed in plain words.
    return { time: null, level: '', taskId: null, text: line, raw: { msg: line } }
  }
}

function lineOf({ time, level, text }: Entry, paint: Paint): string {
  const words = oneLine(text, 2000)
  if (time === null) return words
  const painted =
    level === 'error' || level === 'fatal' ? paint.red : level === 'warn' ? paint.yellow : paint.dim
  return `${paint.dim(oneLine(time, 30))} ${painted(oneLine(level, 10).padEnd(5))} ${words}`
}

function parseTask(text: string): string {
  if (/^[\w-]{1,64}$/.test(text)) return text
  throw new InvalidArgumentError('That is not the id of a task.')
}
