import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readLargeText, readSmallText } from './spool.ts'

function spool(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-spool-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('a link that came in place of an event is not followed', async () => {
  const folder = spool()
  const event = join(folder, 'a.json')
  writeFileSync(join(folder, 'secret'), 'secret')
  symlinkSync('secret', event)
  expect(() => readSmallText(event)).toThrow('ELOOP')
  await expect(readLargeText(event)).rejects.toThrow('ELOOP')
})

// In a process of its own: whoever waits for a pipe can only be killed.
test('a pipe that came in place of an event is not waited for', () => {
  const event = join(spool(), 'a.json')
  expect(spawnSync('mkfifo', [event]).status).toBe(0)
  const spoolModule = new URL('spool.ts', import.meta.url).href
  const code = `const { readSmallText } = await import('${spoolModule}'); console.log(readSmallText('${event}').size)`
  const argv = ['--input-type=module', '-e', code]
  const { stdout } = spawnSync(process.execPath, argv, { timeout: 15_000, encoding: 'utf8' })
  expect(stdout).toBe('0\n')
})

test('of a file without an end 64 MiB are read', async () => {
  const event = join(spool(), 'a.json')
  const most = 64 * 1024 * 1024
  writeFileSync(event, '')
  truncateSync(event, most + 1)
  const { size, sha256 } = await readLargeText(event)
  expect(size).toBe(most + 1)
  expect(sha256).toBe(createHash('sha256').update(Buffer.alloc(most)).digest('hex'))
})
