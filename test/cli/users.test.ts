import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startKeyServer } from '../http/key-server.ts'

vi.setConfig({ testTimeout: 90_000 })

const CCM = resolve(import.meta.dirname, '../../bin/ccm.js')

test('a real daemon lets users of its auth server in, to what is theirs, until they are revoked', async () => {
  const auth = await startKeyServer()
  const base = auth.url.replace('/auth/v1/.well-known/jwks.json', '')
  const folder = mkdtempSync(join(tmpdir(), 'ccm-users-'))
  const home = join(folder, 'home')
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    CCM_HOME: home,
    CCM_CONFIG: join(folder, 'ccm.toml'),
  }
  writeFileSync(
    env.CCM_CONFIG,
    `[http]\nport = 0\n[auth]\nsupabase_url = "${base}"\n[auth.users]\nall = ["read", "write"]\nsome = { scopes = ["read"], projects = ["app"] }\n`,
  )
  const ccm = async (...args: string[]) => {
    const ran = await execa(process.execPath, [CCM, ...args], {
      env,
      extendEnv: false,
      reject: false,
      stdin: 'ignore',
    })
    if (ran.exitCode !== 0) throw new Error(`${ran.stderr}\n${ran.stdout}`)
    return ran.stdout
  }
  onTestFinished(async () => {
    await ccm('stop').catch(() => undefined)
    await execa('tmux', ['-S', join(home, 'tmux/tmux.sock'), 'kill-server'], { reject: false })
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  await ccm('start')
  mkdirSync(join(folder, 'code'))
  await ccm('projects', 'add', join(folder, 'code'), '--name', 'other')
  const { port } = JSON.parse(readFileSync(join(home, 'daemon.json'), 'utf8')) as { port: number }
  const ask = async (path: string, token: string) => {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
      headers: { authorization: `Bearer ${token}` },
    })
    return { status: reply.status, body: await reply.json() }
  }
  const sign = (sub: string, more = {}) => auth.sign({ sub, iss: `${base}/auth/v1`, ...more })
  const all = await sign('all')
  expect(await ask('/api/projects', all)).toMatchObject({ status: 200, body: [{ name: 'other' }] })
  expect(await ask('/api/projects', await sign('some'))).toEqual({ status: 200, body: [] })
  expect((await ask('/api/projects/other', await sign('some'))).status).toBe(404)
  for (const token of [
    await sign('stranger'),
    await sign('all', { iss: 'https://evil.example/auth/v1' }),
    await sign('all', { aud: 'anon' }),
    await sign('all', { role: 'service_role' }),
    await sign('all', { exp: 1 }),
    `${all.slice(0, -4)}AAAA`,
  ])
    expect((await ask('/api/projects', token)).status).toBe(401)
  expect((await ask('/api/keys', all)).status).toBe(403)
  expect(await ccm('keys', 'revoke', '--user', 'all')).toContain('revoked')
  const revokedAt = Date.now()
  while ((await ask('/api/projects', all)).status !== 401) {
    // Known within 5 s, and then it is asked.
    expect(Date.now() - revokedAt).toBeLessThan(8000)
    await sleep(100)
  }
  await sleep(1100)
  expect((await ask('/api/projects', await sign('all'))).status).toBe(200)
})
