import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { createRedactor } from '../../core/redact.ts'
import { readEvent } from './spool-file.ts'
import { lookAt, readLargeText, readSmallText } from './spool.ts'

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

test('such a link holds up no event behind it: it is one that nobody can read', async () => {
  const folder = spool()
  writeFileSync(join(folder, 'a.json'), '{}')
  const file = lookAt(folder, 'a.json')
  if (file === null) throw new Error('there is no file')
  rmSync(join(folder, 'a.json'))
  symlinkSync('secret', join(folder, 'a.json'))
  const logger = pino({ level: 'silent' })
  const context = { redactor: createRedactor(), now: Date.now(), suspect: () => null, logger }
  const event = await readEvent({ taskId: 't', attempt: 1, folder }, file, context)
  expect(event?.hookEventName).toBe('Unreadable')
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
