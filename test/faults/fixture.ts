import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { onTestFinished } from 'vitest'

/** A folder that goes with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-fault-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** An executable sh script of that name in a folder of its own. */
export function program(name: string, ...lines: string[]): string {
  const file = join(temporaryFolder(), name)
  writeFileSync(file, ['#!/bin/sh', ...lines, ''].join('\n'))
  chmodSync(file, 0o755)
  return file
}

/**
 * A program in Claude Code's place. Deviations from the real one: it says its version and then only runs
 * `lines`; it reads no settings, calls no hook, writes no session file and draws no screen.
 */
export function fakeClaude(...lines: string[]): string {
  return program('claude', 'if [ "$1" = --version ]; then echo "2.1.328 (Claude Code)"; exit 0; fi', ...lines)
}

/** A PATH with one folder that links to these programs of `path` and to nothing else. */
export function pathOf(path: string, names: string[]): string {
  const folder = join(temporaryFolder(), 'bin')
  mkdirSync(folder)
  for (const name of names) {
    const found = path.split(delimiter).find((entry) => readdirSync(entry).includes(name))
    if (found !== undefined) symlinkSync(join(found, name), join(folder, name))
  }
  return folder
}

/** Waits until `read` gives something; throws with `what` after the limit. */
export async function eventually<T>(
  what: string,
  read: () => T | Promise<T>,
  limitMs = 20_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const end = performance.now() + limitMs
  for (;;) {
    const value = await read()
    if (value !== null && value !== undefined && value !== false)
      return value as NonNullable<Exclude<T, false>>
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`)
    await sleep(25)
  }
}

/** What a task's attempts have cost so far, from the database itself. */
export function budgetOf(stage: { home: string }, id: string): { failures: number; lost_leases: number } {
  const db = new Sqlite(join(stage.home, 'ccm.db'), { readonly: true })
  try {
    return db.prepare('SELECT failures, lost_leases FROM tasks WHERE id = :id').get({ id }) as ReturnType<
      typeof budgetOf
    >
  } finally {
    db.close()
  }
}

/** Of these processes the ones that are Claude Code's own program. */
export function claudePids(pids: number[]): number[] {
  return pids.filter((pid) => commandOf(pid).split('\0')[0]?.endsWith('/claude'))
}

/** The command line of a process, words separated by NUL; '' when it is gone. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** True while a process has this id and is no zombie. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return !/\) [ZX] [^)]*$/.test(stat)
  } catch {
    return false
  }
}
