import { execa } from 'execa'
import { CcmError } from '../core/errors.ts'
import type { Reply } from './command.ts'
import { createControlReader, type Block } from './control-reader.ts'

/** How to call tmux: the program, the arguments that choose our server, and the whole environment. */
export type TmuxCall = { command: string; args: readonly string[]; env: Readonly<Record<string, string>> }

/** A line for tmux's parser and how many replies it brings when every command of it succeeds. */
export type Line = { text: string; replies: number }

/** `written` false: tmux cannot have seen the lines. */
export class ControlLost extends Error {
  readonly written: boolean

  constructor(message: string, written: boolean) {
    super(message)
    this.name = 'ControlLost'
    this.written = written
  }
}

export type ControlClient = {
  /** Writes the lines at once, answers one reply a line in order; rejects with ControlLost. */
  send: (lines: readonly Line[]) => Promise<Reply[]>
  /** Resolves when the client is over, for whatever reason. */
  ended: Promise<void>
  /** For tests: the client's process id. */
  pid: number | undefined
  close: () => Promise<void>
}

type Batch = {
  replies: Reply[]
  size: number
  resolve: (replies: Reply[]) => void
  reject: (e: Error) => void
}
type Waiting = { batch: Batch; left: number; texts: string[] }

/**
 * One long-lived control-mode client over pipes. `no-output`: without it a client that stops reading blocks
 * the agents (measured: 71 MB/s -> 0). `ignore-size`: without it the client's size would shrink them. The
 * client is given up when `stallMs` pass without a reply that is due. Rejects when the attach fails.
 */
export async function connectControl(
  tmux: TmuxCall,
  target: string,
  stallMs: number,
): Promise<ControlClient> {
  const attach = ['-N', '-C', 'attach-session', '-t', target, '-f', 'no-output,ignore-size']
  const child = execa(tmux.command, [...tmux.args, ...attach], {
    env: tmux.env,
    extendEnv: false,
    cwd: '/',
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
    buffer: false,
    reject: false,
    encoding: 'buffer',
  })
  const queue: Waiting[] = []
  let outbox: string[] = []
  let lost: ControlLost | null = null
  let greet: ((ok: boolean, text: string) => void) | null = null
  let stall: NodeJS.Timeout | null = null
  let progress = 0

  const fail = (message: string): void => {
    if (lost !== null) return
    lost = new ControlLost(message, true)
    if (stall !== null) clearTimeout(stall)
    greet?.(false, message)
    for (const batch of new Set(queue.map((waiting) => waiting.batch))) batch.reject(lost)
    queue.length = 0
    child.kill('SIGKILL')
  }

  // A daemon that was itself stopped wakes up with the timer due and the replies unread: read first.
  const onStall = (): void => {
    // Nothing is due. Looked at now: a timer of the caller's may send a command before the next turn.
    if (queue.length === 0 && greet === null) return
    const before = progress
    setImmediate(() => {
      if (queue.length === 0 && greet === null) return
      if (progress === before) fail(`no answer within ${stallMs} ms`)
      else stall?.refresh()
    })
  }
  const expectReply = (): void => {
    if (stall === null) stall = setTimeout(onStall, stallMs)
    else if (queue.length === 0) stall.refresh()
  }

  const onBlock = (block: Block): void => {
    progress++
    if (greet !== null) {
      greet(block.ok, block.text)
      return
    }
    if (!block.ours) return
    const waiting = queue[0]
    if (waiting === undefined) return fail('tmux answered a command that was never sent')
    stall?.refresh()
    if (block.text !== '') waiting.texts.push(block.text)
    waiting.left--
    if (block.ok && waiting.left > 0) return
    queue.shift()
    const { batch } = waiting
    batch.replies.push(
      block.ok ? { ok: true, text: waiting.texts.join('\n') } : { ok: false, error: block.text },
    )
    if (batch.replies.length === batch.size) batch.resolve(batch.replies)
  }

  child.stdout.on('data', createControlReader(onBlock))
  child.stdout.on('error', () => fail('its output broke'))
  child.stdin.on('error', () => fail('its input broke'))
  const ended = child.then((result) => {
    fail(result.originalMessage ?? 'it ended')
  })

  const flush = (): void => {
    if (lost === null && outbox.length > 0) child.stdin.write(outbox.join(''))
    outbox = []
  }

  const send = (lines: readonly Line[]): Promise<Reply[]> => {
    if (lost !== null) return Promise.reject(new ControlLost(lost.message, false))
    if (lines.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => {
      const batch: Batch = { replies: [], size: lines.length, resolve, reject }
      expectReply()
      for (const line of lines) {
        queue.push({ batch, left: line.replies, texts: [] })
        outbox.push(line.text, '\n')
      }
      // Calls of one turn of the event loop leave in one write: 50 launches are one system call.
      queueMicrotask(flush)
    })
  }

  const close = async (): Promise<void> => {
    fail('it was closed')
    await ended
  }

  await new Promise<void>((resolve, reject) => {
    expectReply()
    greet = (ok, text) => {
      greet = null
      if (ok) resolve()
      else reject(new CcmError('TMUX_FAILED', `The tmux control client could not attach: ${text}.`))
    }
  })
  return { send, ended, pid: child.pid, close }
}
