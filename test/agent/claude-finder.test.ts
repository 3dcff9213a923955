import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createClaudeFinder } from '../../src/agent/claude.ts'
import { claudeState } from '../../src/daemon/fitness.ts'

test('a Claude Code that hangs at its version holds up no status, and is asked by one process at a time', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-finder-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  const [command, asked, go] = ['claude', 'asked', 'go'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(
    command,
    `#!/bin/sh\necho x >>${asked}\nuntil [ -e ${go} ]; do sleep 0.05; done\necho '2.1.328 (Claude Code)'\n`,
  )
  chmodSync(command, 0o755)
  const find = createClaudeFinder({ command, path: process.env['PATH'] ?? '' })
  const first = find()
  await vi.waitUntil(() => existsSync(asked), { timeout: 5000 })
  const slow = { problem: expect.stringContaining('has not told its version') }
  expect(await Promise.all([claudeState(find), claudeState(find)])).toEqual([slow, slow])
  writeFileSync(go, '')
  expect(await first).toEqual({ path: command, version: '2.1.328' })
  expect(await claudeState(find)).toEqual({ path: command, version: '2.1.328' })
  expect(readFileSync(asked, 'utf8')).toBe('x\n')
})
