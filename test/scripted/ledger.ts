import { appendFileSync, closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** One line of the ledger. `at` is ms of the machine's monotonic clock, one for all processes. */
export type Entry = { task: string; attempt: number; pid: number; at: number } & (
  | { kind: 'start'; resumed: boolean }
  /** The lock of the task was held by a process that lives. */
  | { kind: 'lock_failed'; holder: string }
  | { kind: 'child'; child: number }
  /** A hook event is given to the hook, and: the hook has ended well. */
  | { kind: 'sending' | 'sent'; seq: number; name: string }
  /** It is about to say how its work ended, in its transcript and by a hook, and: it has. */
  | { kind: 'saying' | 'outcome'; outcome: string }
  | { kind: 'end' }
)

type News<T = Entry> = T extends Entry ? Omit<T, 'task' | 'attempt' | 'pid' | 'at'> : never

/** Now, by the ledger's clock. */
export function ledgerNow(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000
}

/** The ledger of one agent: what it appends is on its way to the disk before the call returns. */
export function openLedger(folder: string, task: string, attempt: number): (news: News) => void {
  const file = join(folder, 'ledger.jsonl')
  return (news) => {
    const entry = { task, attempt, pid: process.pid, at: ledgerNow(), ...news }
    // One write of less than a page at the end of a file: lines of many processes never mix.
    appendFileSync(file, `${JSON.stringify(entry)}\n`)
  }
}

/** All lines that are whole, in the order in which they were written. */
export function readLedger(folder: string): Entry[] {
  let text = ''
  try {
    text = readFileSync(join(folder, 'ledger.jsonl'), 'utf8')
  } catch {
    // Nobody wrote yet.
  }
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Entry]))
}

/**
 * Takes the lock of a task by O_EXCL; null when it is ours, else the living holder. The lock of a process that was
 * killed stays behind, and counts as free only when that very process (by pid and start) is gone.
 */
export function takeLock(folder: string, task: string): string | null {
  const file = join(folder, `${task}.lock`)
  for (;;) {
    try {
      const lock = openSync(file, 'wx')
      writeSync(lock, `${process.pid} ${startOf(process.pid)}`)
      closeSync(lock)
      return null
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = read(file)
    const [pid, start] = holder.split(' ')
    if (pid !== undefined && pid !== '' && startOf(Number(pid)) === start) return holder
    rmSync(file, { force: true })
  }
}

export function freeLock(folder: string, task: string): void {
  rmSync(join(folder, `${task}.lock`), { force: true })
}

/** When a process started, in ticks since boot; '' when it is gone or waits to be reaped. */
export function startOf(pid: number): string {
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? '' : (fields[19] ?? '')
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
