import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import type { TaskJson } from '../../src/protocol/task.ts'

const ROOT = resolve(import.meta.dirname, '../..')

function demo(folder: string, ...options: string[]) {
  return execa(process.execPath, [join(ROOT, 'bin/ccm.js'), 'demo', ...options], {
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
  })
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-e2e-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('the demo for a person names no command that would look for what it removes', async () => {
  const { exitCode, stdout } = await demo(temporaryFolder())
  expect(exitCode).toBe(0)
  expect(stdout).toContain('total.sh  +1 -1')
  expect(stdout.match(/ccm (?!run)[a-z]+ \w+|claude --resume/g)).toBeNull()
})

test('the demo is a whole task that succeeds, and leaves nothing behind', async () => {
  const folder = temporaryFolder()
  const { exitCode, stdout, stderr } = await demo(folder, '--json')
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  const task = JSON.parse(stdout) as TaskJson
  expect(task.status).toBe('succeeded')
  expect(task.result?.files.map(({ path }) => path)).toEqual(['total.sh'])
  expect(readdirSync(folder).filter((name) => name.startsWith('ccm-demo-'))).toEqual([])
})
