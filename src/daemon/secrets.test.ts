import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../config/load.ts'
import { SECTIONS } from '../config/schema.ts'
import { readSecrets } from './secrets.ts'

/** Every setting that may come from elsewhere, as `section.key`; the schema says which. */
const SETTINGS = Object.entries(SECTIONS).flatMap(([section, schema]) =>
  'shape' in schema
    ? Object.entries(schema.shape)
        .filter(([, field]) => field.safeParse({ env: 'X' }).success)
        // A table of variables takes any name.
        .filter(([, field]) => !field.safeParse({ other: 'X' }).success)
        .map(([key]) => `${section}.${key}`)
    : [],
)

/** What some of them need beside them. */
const BESIDE: Partial<Record<string, string>> = {
  auth: 'supabase_url = "https://auth.example"',
  supabase: 'url = "https://queue.example"',
  alerts: 'ntfy = "https://ntfy.example/topic"',
}

test('every secret of the configuration is among those that no log and no record shows, wherever it comes from', async () => {
  expect(SETTINGS).toContain('github.secret')
  expect(SETTINGS.length).toBeGreaterThan(10)
  const folder = mkdtempSync(join(tmpdir(), 'ccm-hidden-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'ccm.toml')
  const valueOf = (setting: string) =>
    setting === 'alerts.webhook' ? 'https://hooks.example/planted' : `planted-${setting.replace(/\W/g, '-')}`
  for (const from of ['text', 'variable']) {
    const env: Record<string, string> = { HOME: folder, CCM_CONFIG: file }
    const lines = SETTINGS.map((setting, index) => {
      const [section = '', key = ''] = setting.split('.')
      env[`S${index}`] = valueOf(setting)
      const value = from === 'text' ? JSON.stringify(valueOf(setting)) : `{ env = "S${index}" }`
      return { section, line: `${key} = ${value}` }
    })
    const sections = [...new Set(lines.map(({ section }) => section))]
    const toml = sections.map((name) =>
      [
        `[${name}]`,
        BESIDE[name] ?? '',
        ...lines.filter(({ section }) => section === name).map(({ line }) => line),
      ].join('\n'),
    )
    writeFileSync(file, toml.join('\n'), { mode: 0o600 })
    const { hidden } = await readSecrets(loadConfig(env, folder), env)
    expect(SETTINGS.filter((setting) => !hidden.includes(valueOf(setting)))).toEqual([])
  }
})
