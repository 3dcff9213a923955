import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from './load.ts'
import { looseConfig, withSecrets } from './with-secrets.ts'

function place(toml: (folder: string) => string) {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-secrets-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'private'), 'from a file\n', { mode: 0o600 })
  const file = join(folder, 'ccm.toml')
  writeFileSync(file, toml(folder), { mode: 0o600 })
  const env = { HOME: folder, PATH: process.env['PATH'], CCM_CONFIG: file, GIVEN: 'from a variable' }
  return { folder, file, env, config: () => loadConfig(env, folder) }
}

test('secrets of agents and of messages come from files, variables and programs, and stand nowhere else', async () => {
  const { config, env } = place(
    (folder) => `[claude.env]
A_TOKEN = { file = "${folder}/private" }
ODD = { command = ["printf", "from a program"] }
PLAIN = "word"
NUMBER = 5
[alerts]
ntfy = "https://ntfy.example/topic"
ntfy_token = { env = "GIVEN" }
webhook = "https://hooks.example/T0/secret"
`,
  )
  const before = config()
  expect(before.claude.env).toEqual({ PLAIN: 'word', NUMBER: '5' })
  const { config: after, values } = await withSecrets(before, env)
  expect(after.claude.env).toEqual({
    A_TOKEN: 'from a file',
    ODD: 'from a program',
    PLAIN: 'word',
    NUMBER: '5',
  })
  expect(after.notify.ntfy?.token).toBe('from a variable')
  // A value that came from elsewhere is a secret whatever its name; the rest by its name.
  expect(values.toSorted()).toEqual([
    'from a file',
    'from a program',
    'from a variable',
    'https://hooks.example/T0/secret',
  ])
})

test('a file of a secret that others may read is refused by its name, and what it says is not shown', async () => {
  const { config, env, folder } = place((folder) => `[claude.env]\nA = { file = "${folder}/private" }\n`)
  chmodSync(join(folder, 'private'), 0o640)
  const refused = withSecrets(config(), env)
  await expect(refused).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringMatching(/claude\.env\.A.*mode 0640/),
    remedy: expect.stringContaining('chmod 600'),
  })
  await expect(refused).rejects.not.toThrow(/from a file/)
})

test.each([
  ['[claude.env]\nMY_TOKEN = "hush"\n', 'claude.env.MY_TOKEN'],
  ['[alerts]\nntfy_token = "hush"\n', 'alerts.ntfy_token'],
  ['[claude.env]\nMY_TOKEN = { env = "GIVEN" }\nPLAIN = "word"\n[budget]\ntask_tokens = 5\n', null],
])('a configuration that others may read is told of where it holds a secret: %j', (toml, key) => {
  const { config, file } = place(() => toml)
  expect(looseConfig(config())).toBeNull()
  chmodSync(file, 0o644)
  const named = /the secret (\S+),/.exec(looseConfig(config()) ?? '')?.[1] ?? null
  expect(named).toBe(key)
  expect(looseConfig(config()) ?? '').not.toContain('hush')
})
