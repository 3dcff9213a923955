import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { acquireHomeLock } from '../../src/store/lock.ts'
import { openForTest } from '../../src/store/temporary-database.ts'
import { createStage, type Stage } from '../e2e/stage.ts'
import { fakeClaude, program } from './fixture.ts'

type Spoilt = { config?: string; env?: Record<string, string> }
type Step = {
  step: string
  says: RegExp
  /** Makes that step fail; `base` is a Supabase of ours. */
  spoil: (stage: Stage, url: string) => Spoilt
}

const shared = (url: string) => `[supabase]\nurl = "${url}/`
const secretKey = 'secret_key = "sb_secret_000000000000000000000000000000"\n'

/** From first to last, each what a start does next. */
const STEPS: Step[] = [
  {
    step: 'reading its secrets',
    says: /github\.secret/,
    spoil: () => ({ config: '[github]\nsecret = { file = "/nonexistent/secret" }\n' }),
  },
  {
    step: 'finding tmux',
    says: /tmux 2\.9a is too old/,
    spoil: ({ env }) => ({
      env: { PATH: `${join(program('tmux', 'echo "tmux 2.9a"'), '..')}:${env['PATH']}` },
    }),
  },
  {
    step: 'opening its database',
    says: /newer/,
    spoil: ({ home }) => {
      const db = openForTest(join(home, 'ccm.db'))
      db.prepare('PRAGMA user_version = 999').run({})
      db.close()
      return {}
    },
  },
  {
    step: 'becoming a worker of the queue',
    says: /Supabase refused the key/,
    spoil: (_, url) => ({ config: `${shared(url)}nobody"\n${secretKey}` }),
  },
  {
    step: 'telling where it answers',
    says: /daemon\.json/,
    spoil: ({ home }) => {
      mkdirSync(join(home, 'daemon.json'))
      return {}
    },
  },
  {
    step: 'taking over what an earlier daemon left',
    says: /has no function/,
    spoil: (_, url) => ({ config: `${shared(url)}worker"\n${secretKey}` }),
  },
]

/** A Supabase that refuses every key; at `/worker` one that takes a worker's name, and has no other function. */
async function serveSupabase(): Promise<{ url: string; server: Server }> {
  const server = createHttpServer(({ url = '' }, response) => {
    const reply = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (!url.startsWith('/worker/')) reply(401, { message: 'Invalid API key' })
    else if (url.endsWith('/worker_register')) reply(200, 1)
    else reply(404, { code: 'PGRST202', message: 'Could not find the function' })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

test.each(STEPS)('a start that fails at $step leaves nothing open', async ({ says, spoil }) => {
  await using stage = await createStage(() => ({ kind: 'message', text: '[DONE]' }), {
    claude: fakeClaude('exec sleep 1000'),
  })
  const { home } = stage
  const { url, server } = await serveSupabase()
  await using _ = { [Symbol.asyncDispose]: async () => void server.close() }
  mkdirSync(home, { mode: 0o700 })
  const { config = '', env = {} } = spoil(stage, url)
  const port = await freePort()
  const file = join(stage.folder, 'spoilt.toml')
  writeFileSync(file, `${config}\n[http]\nport = ${port}\n`, { mode: 0o600 })

  const daemon = await stage.ccm(['daemon'], { env: { CCM_CONFIG: file, ...env } })
  expect(daemon.stderr).toMatch(says)
  expect(daemon.stderr).not.toContain('SuppressedError')
  expect(daemon.code).not.toBe(0)

  const { stdout: processes } = await execa('pgrep', ['-fa', '--', home], { reject: false })
  expect(processes).toBe('')
  const left = (folder: string, names: string[]) =>
    existsSync(folder) ? readdirSync(folder).filter((name) => names.includes(name)) : []
  expect(left(home, ['lock.db.pid', 'api.sock', 'ccm.db-wal'])).toEqual([])
  expect(left(join(home, 'tmux'), ['tmux.sock'])).toEqual([])
  acquireHomeLock(join(home, 'lock.db')).release()
  const again = createServer()
  await new Promise<void>((resolve, reject) => {
    again.once('error', reject)
    again.listen(port, '127.0.0.1', resolve)
  })
  again.close()
})
