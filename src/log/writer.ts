import { fstatSync, openSync, constants, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/** Takes lines, each with its end, and never waits for who reads them: what cannot go out is kept up to 1 MiB. */
export type LineWriter = { write: (line: string) => void }

const KEPT_MAX_BYTES = 1024 * 1024
const RETRY_MS = 100

/**
 * Writes to an open descriptor, `stderr` say. A pipe or terminal that nobody reads takes nothing any more, and a write
 * to it would hold the whole daemon: such ones are opened once more, so as not to wait. A full disk or a reader that
 * is gone costs lines, and how many is told in a line of its own once there is room.
 */
export function createLineWriter(descriptor: number): LineWriter {
  const kind = fstatSync(descriptor)
  if (kind.isSocket()) return writerOfSocket(descriptor)
  return writerOfFile(kind.isFile() ? descriptor : withoutWaiting(descriptor))
}

/** A description of its own: the flag must not reach other programs that share the terminal. */
function withoutWaiting(descriptor: number): number {
  try {
    return openSync(`/dev/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    return descriptor
  }
}

function writerOfFile(descriptor: number): LineWriter {
  const kept: Buffer[] = []
  let keptBytes = 0
  let dropped = 0
  /** The last line ended in its middle. */
  let torn = false
  let timer: NodeJS.Timeout | null = null

  function keep(line: string): void {
    const bytes = Buffer.from(line)
    kept.push(bytes)
    keptBytes += bytes.length
  }

  function flush(): void {
    for (let [next] = kept; next !== undefined; [next] = kept) {
      let written: number
      try {
        written = writeSync(descriptor, next)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return again()
        dropped += kept.splice(0).length
        keptBytes = 0
        return
      }
      torn = written < next.length
      keptBytes -= written
      if (torn) kept[0] = next.subarray(written)
      else kept.shift()
    }
    if (dropped === 0) return
    const line = droppedLine(dropped)
    dropped = 0
    keep(torn ? `\n${line}` : line)
    flush()
  }

  function again(): void {
    timer ??= setTimeout(() => {
      timer = null
      flush()
    }, RETRY_MS).unref()
  }

  return {
    write(line) {
      if (keptBytes + line.length > KEPT_MAX_BYTES) return void dropped++
      keep(line)
      if (timer === null) flush()
    },
  }
}

/** Of systemd's journal, say. */
function writerOfSocket(descriptor: number): LineWriter {
  const socket = new Socket({ fd: descriptor, readable: false, writable: true })
  let dropped = 0
  socket.on('error', () => undefined)
  socket.unref()
  return {
    write(line) {
      if (socket.writableLength > KEPT_MAX_BYTES || socket.destroyed) return void dropped++
      if (dropped > 0) socket.write(droppedLine(dropped))
      dropped = 0
      socket.write(line)
    },
  }
}

function droppedLine(count: number): string {
  const time = new Date().toISOString()
  return `${JSON.stringify({ level: 'warn', time, code: 'LOG_DROPPED', msg: `${count} lines of the log could not be written` })}\n`
}
