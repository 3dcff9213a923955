import { setTimeout as sleep } from 'node:timers/promises'
import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'
import type { DaemonClient } from '../client/daemon-client.ts'
import { CcmError } from '../core/errors.ts'
import type { TaskJson } from '../protocol/task.ts'
import { waitsForRepair, waitsForTrust, type Answer } from './follow.ts'
import { oneLine, printable } from './printable.ts'
import { answerHints, waitingLines } from './task-view.ts'
import type { Output, Paint } from './terminal.ts'

const RETRY_MS = 700

/** Asks one line of text; null when the person pressed Ctrl-C or Ctrl-D. Rejects when `signal` fires. */
export type AskLine = (prompt: string, signal: AbortSignal) => Promise<string | null>

/** Questions on this terminal. */
export function createAskLine(input: Readable, output: Output): AskLine {
  return (prompt, signal) => {
    const lines = createInterface({ input, output: output as unknown as Writable, terminal: true })
    return new Promise<string | null>((resolve, reject) => {
      lines.on('SIGINT', () => resolve(null))
      lines.on('close', () => resolve(null))
      lines.question(prompt, { signal }).then(resolve, reject)
    }).finally(() => lines.close())
  }
}

/** Lets the person at this terminal answer what a task waits for. */
export function createAnswer(api: DaemonClient, output: Output, paint: Paint, askLine: AskLine): Answer {
  const say = (lines: string[]) => void output.write(`${lines.join('\n')}\n`)

  return async (task, signal) => {
    if (waitsForTrust(task)) return answerTrust(task, signal)
    const question = task.waiting_for
    if (question === null) {
      say([
        paint.yellow(`The agent waits: ${oneLine(task.state_reason ?? 'no reason given')}`),
        ...answerHints(task),
      ])
      return 'answered'
    }
    say(['', ...waitingLines(question, paint)])
    if (question.kind === 'dialog') {
      say(answerHints(task))
      return 'answered'
    }
    try {
      for (;;) {
        const settled =
          question.kind === 'question'
            ? await answerQuestion(task, question.options, signal)
            : await answerPermission(task, signal)
        if (settled !== null) return settled
      }
    } catch (error) {
      if (signal.aborted) say(['', paint.dim('Answered elsewhere.')])
      throw error
    }
  }

  async function answerTrust(task: TaskJson, signal: AbortSignal): Promise<'answered' | 'leave'> {
    say([
      '',
      paint.bold(paint.yellow(`${oneLine(task.dir ?? task.project)} is not trusted yet.`)),
      '  In a trusted directory, agents may run what the project itself brings:',
      '  its hooks, tool servers and settings for Claude Code. Trust only code that you would run.',
    ])
    const reply = await askLine('Trust this directory? [y/N] ', signal)
    if (reply === null || !isYes(reply)) return 'leave'
    await api.trustProject(task.project)
    return 'answered'
  }

  async function answerPermission(task: TaskJson, signal: AbortSignal): Promise<'answered' | 'leave' | null> {
    const reply = await askLine('Allow it? [y]es / [n]o ', signal)
    if (reply === null) return 'leave'
    if (isYes(reply)) {
      return give(task, signal, () => api.approve(task.id, task.waiting_for?.id))
    }
    if (!/^no?$/i.test(reply.trim())) {
      say(['Please answer y or n.'])
      return null
    }
    const reason = await askLine('What should the agent know? (Enter: nothing) ', signal)
    if (reason === null) return 'leave'
    return give(task, signal, () => api.deny(task.id, reason.trim() || undefined, task.waiting_for?.id))
  }

  async function answerQuestion(
    task: TaskJson,
    options: string[],
    signal: AbortSignal,
  ): Promise<'answered' | 'leave' | null> {
    const reply = await askLine(
      options.length > 0 ? 'Your answer (number or text): ' : 'Your answer: ',
      signal,
    )
    if (reply === null) return 'leave'
    const text = reply.trim()
    if (text === '') return null
    const answer = /^\d+$/.test(text) ? (options[Number(text) - 1] ?? text) : text
    return give(task, signal, () => api.send(task.id, answer, task.waiting_for?.id))
  }

  // A dialog is seen a moment before it can be answered, so one refusal is no refusal. After a second one the
  // question is asked again, unless it was answered elsewhere meanwhile.
  async function give(
    task: TaskJson,
    signal: AbortSignal,
    send: () => Promise<unknown>,
  ): Promise<'answered' | null> {
    for (let tries = 1; ; tries++) {
      try {
        await send()
        return 'answered'
      } catch (error) {
        if (!(error instanceof CcmError) || error.code !== 'CONFLICT') throw error
        if (tries === 2) {
          say([paint.yellow(printable(error.message)), ...answerHints(task)])
          return null
        }
        await sleep(RETRY_MS, undefined, { signal })
      }
    }
  }
}

/** What a task waits for and how to answer, for a caller that takes no input. */
export function waitHints(task: TaskJson, paint: Paint): string[] {
  const id = task.id
  if (waitsForTrust(task)) {
    return [
      paint.yellow(`The task waits: ${oneLine(task.state_reason ?? 'trust')}`),
      `  Trust the directory: ccm projects trust ${task.project}   (or next time: ccm run … --trust)`,
      `  Give the task up:    ccm cancel ${id}`,
    ]
  }
  if (waitsForRepair(task)) {
    return [
      paint.yellow(`The task waits: ${oneLine(task.state_reason ?? '')}`),
      `  It stays queued and starts when that is mended.   Give it up: ccm cancel ${id}`,
    ]
  }
  const question = task.waiting_for
  const what =
    question === null
      ? [paint.yellow(`The agent waits: ${oneLine(task.state_reason ?? 'no reason given')}`)]
      : waitingLines(question, paint)
  return [...what, ...answerHints(task)]
}

function isYes(reply: string): boolean {
  return /^y(es)?$/i.test(reply.trim())
}
