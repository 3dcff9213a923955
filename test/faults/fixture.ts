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
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { execa } from 'execa'
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

/** A file system of its own at `folder`, or null with the reason printed where this user may not mount. */
export async function mountSmall(folder: string, size: string): Promise<AsyncDisposable | null> {
  mkdirSync(folder, { recursive: true })
  const mounted = await execa('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', folder], {
    reject: false,
  })
  if (mounted.exitCode !== 0) {
    console.warn(`SKIPPED: a small file system cannot be mounted here: ${mounted.stderr}`)
    return null
  }
  return {
    async [Symbol.asyncDispose]() {
      // Lazily: a tmux server that is about to end may still stand in it.
      await execa('umount', ['-l', folder])
    },
  }
}

/**
 * A disk at `folder` that can be made to hang: whoever writes waits, and cannot even be killed. Null with the reason
 * printed where this user may not mount. It thaws before it goes.
 */
export async function mountFreezable(
  folder: string,
): Promise<(AsyncDisposable & { freeze: () => void; thaw: () => void }) | null> {
  mkdirSync(folder, { recursive: true })
  const image = `${folder}.img`
  await execa('truncate', ['-s', '16M', image])
  const steps: [string, string[]][] = [
    ['mkfs.ext4', ['-q', image]],
    ['mount', ['-o', 'loop', image, folder]],
    // Not every file system can be frozen by everybody.
    ['fsfreeze', ['-f', folder]],
    ['fsfreeze', ['-u', folder]],
  ]
  for (const [command, args] of steps) {
    const { exitCode, stderr } = await execa(command, args, { reject: false })
    if (exitCode === 0) continue
    console.warn(`SKIPPED: a disk that hangs cannot be made here: ${stderr}`)
    await execa('umount', ['-l', folder], { reject: false })
    return null
  }
  const turn = (how: '-f' | '-u') => void execFileSync('fsfreeze', [how, folder], { stdio: 'ignore' })
  let frozen = false
  return {
    freeze() {
      turn('-f')
      frozen = true
    },
    thaw() {
      turn('-u')
      frozen = false
    },
    async [Symbol.asyncDispose]() {
      if (frozen) turn('-u')
      await execa('umount', ['-l', folder])
      rmSync(image, { force: true })
    },
  }
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
