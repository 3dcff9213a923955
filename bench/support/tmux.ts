import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTmuxServer, type TmuxServer } from '../../src/tmux/server.ts'

const run = promisify(execFile)

/** A tmux server for one benchmark; `tmux` starts one process with these arguments, as a peer would. */
export type BenchTmux = {
  server: TmuxServer
  folder: string
  tmux: (args: readonly string[]) => Promise<string>
}

/** Runs `body` with a server of its own, in a clean environment, and removes both. */
export async function withTmux<T>(body: (bench: BenchTmux) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'ccm-bench-'))
  const env = { PATH: process.env['PATH'] ?? '', HOME: folder }
  const server = await openTmuxServer({ folder: join(folder, 'tmux'), env })
  try {
    const tmux = async (args: readonly string[]): Promise<string> => {
      const { stdout } = await run('tmux', ['-S', server.socketPath, ...args], { env, maxBuffer: 1 << 26 })
      return stdout
    }
    return await body({ server, folder, tmux })
  } finally {
    await server.kill()
    await rm(folder, { recursive: true, force: true })
  }
}
