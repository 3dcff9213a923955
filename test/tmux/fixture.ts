import { execa } from 'execa'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openTmuxServer, type TmuxOptions, type TmuxServer } from '../../src/tmux/server.ts'

export type TestTmux = {
  server: TmuxServer
  /** Temporary folder of the test; the server's own folder is `tmux` in it. */
  folder: string
  /** What the server was told about its control client. */
  troubles: string[]
  /** Ends the server and removes the folder. */
  [Symbol.asyncDispose]: () => Promise<void>
}

/** The two ways commands reach tmux; `chain` is what remains when no control client can attach. */
export type Way = 'control' | 'chain'

/** A server of its own for one test, in a clean environment. */
export async function openTestTmux(
  options: Partial<TmuxOptions> & { way?: Way; name?: string } = {},
): Promise<TestTmux> {
  const { way = 'control', name = 'ccm-tmux-', ...rest } = options
  const folder = await mkdtemp(join(tmpdir(), name))
  const troubles: string[] = []
  try {
    const server = await openTmuxServer({
      folder: join(folder, 'tmux'),
      env: testEnvironment(folder),
      onTrouble: (message) => troubles.push(message),
      ...(way === 'chain' && { command: await writeTmuxWithoutControl(folder) }),
      ...rest,
    })
    return {
      server,
      folder,
      troubles,
      [Symbol.asyncDispose]: async () => {
        await server.kill()
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

export function testEnvironment(home: string): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: home }
}

/** A program of that text; answers its path. */
export async function writeProgram(folder: string, name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  await chmod(path, 0o755)
  return path
}

/** Waits until `check` answers something else than undefined, null or false; fails after `withinMs`. */
export async function until<T>(
  check: () => Promise<T> | T,
  withinMs = 15_000,
): Promise<Exclude<T, undefined | null | false>> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const value = await check()
    if (value !== undefined && value !== null && value !== false) {
      return value as Exclude<T, undefined | null | false>
    }
    if (performance.now() > deadline)
      throw new Error(`did not happen within ${withinMs} ms: ${String(check)}`)
    await sleep(15)
  }
}

/** Whether a process is over; one that waits to be reaped is. */
export async function hasEnded(pid: number): Promise<boolean> {
  const { stdout } = await execa('ps', ['-o', 'stat=', '-p', String(pid)], { reject: false })
  return stdout.trim() === '' || stdout.startsWith('Z')
}

/** The file's text, or null when it is not there. */
export async function readIfThere(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null)
}

function writeTmuxWithoutControl(folder: string): Promise<string> {
  const text = '#!/bin/sh\nfor word in "$@"; do [ "$word" = -C ] && exit 1; done\nexec tmux "$@"\n'
  return writeProgram(folder, 'tmux-without-control', text)
}
