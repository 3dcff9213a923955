import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startOf } from './process-tree.ts'
import { createSessionReader } from './session-file.ts'

/** A config folder with these session files, by name. */
function folderWith(files: Record<string, object>): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-session-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'sessions'))
  for (const [name, session] of Object.entries(files))
    writeFileSync(join(folder, 'sessions', name), JSON.stringify(session))
  return folder
}
const read = (files: Record<string, object>) => createSessionReader(folderWith(files), () => 'mine')()
const OURS = { pid: process.pid, procStart: startOf(process.pid), sessionId: 'mine', status: 'busy' }

test('the file of the process that lives is read, not the one a killed process of the same session left', () => {
  const killed = { ...OURS, pid: 2 ** 22 + 1, status: 'idle' }
  expect(read({ '1.json': killed, '2.json': OURS })).toMatchObject({ pid: process.pid, status: 'busy' })
  expect(read({ '1.json': killed })).toBe(null)
})

test.skipIf(process.platform !== 'linux')(
  'a pid that is used again by another process is not taken for the agent',
  () => {
    expect(read({ '1.json': { ...OURS, procStart: '1' } })).toBe(null)
    expect(read({ '1.json': { ...OURS, procStart: '1', status: 'idle' }, '2.json': OURS })).toMatchObject({
      status: 'busy',
    })
  },
)

test('a session of another id says nothing', () => {
  expect(read({ '1.json': { ...OURS, sessionId: 'other' } })).toBe(null)
})
