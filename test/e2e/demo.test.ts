import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import type { TaskJson } from '../../src/protocol/task.ts'

const ROOT = resolve(import.meta.dirname, '../..')

test('the demo is a whole task that succeeds, and leaves nothing behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-e2e-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const { exitCode, stdout, stderr } = await execa(
    process.execPath,
    [join(ROOT, 'bin/ccm.js'), 'demo', '--json'],
    {
      env: {
        PATH: `${join(ROOT, 'node_modules/.bin')}:/usr/local/bin:/usr/bin:/bin`,
        HOME: folder,
        TMPDIR: folder,
      },
      extendEnv: false,
      cwd: folder,
      stdin: 'ignore',
      reject: false,
      timeout: 120_000,
    },
  )
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  const task = JSON.parse(stdout) as TaskJson
  expect(task.status).toBe('succeeded')
  expect(task.result?.files.map(({ path }) => path)).toEqual(['total.sh'])
  expect(readdirSync(folder).filter((name) => name.startsWith('ccm-demo-'))).toEqual([])
})
