import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { mountDisk } from '../../../test/support/disk.ts'
import { createFence } from './fence.ts'

const LEASE = { taskId: 'a', attempt: 1 }
const LEASE_MS = 600_000

test('a deadline moves for whoever outlives the daemon also on a full disk', async ({ skip }) => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-fence-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  await using disk = await mountDisk(join(folder, 'home'))
  if (disk === null) return skip('nothing may be mounted here')
  const file = join(folder, 'home', 'deadline')
  const logger = pino({ level: 'silent' })
  const newFence = () => createFence({ leaseMs: LEASE_MS, uptimeMs: () => 0, fileOf: () => file, logger })
  const fence = newFence()
  const written = () => readFileSync(file, 'utf8')
  fence.move([LEASE], 0)
  await disk.fill()
  // Its last blocks are smaller than what fills it.
  const fillRest = () => {
    for (let count = 0; ; count++) writeFileSync(join(folder, 'home', `rest${count}`), 'x')
  }
  expect(fillRest).toThrow('ENOSPC')
  fence.move([LEASE], 1000)
  expect(written()).toBe('451000\n')
  // One digit more, and after a start of the machine fewer.
  fence.move([LEASE], 700_000)
  expect(written()).toBe('1150000\n')
  newFence().move([LEASE], 0)
  expect(written()).toBe('450000\n')
  disk.free()
  fence.move([LEASE], 800_000)
  expect(written()).toBe('1250000\n')
})

test('of two answers in the wrong order the later question counts', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-fence-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'deadline')
  const logger = pino({ level: 'silent' })
  const fence = createFence({ leaseMs: LEASE_MS, uptimeMs: () => 0, fileOf: () => file, logger })
  fence.move([LEASE], 1000)
  fence.move([LEASE], 500)
  expect(readFileSync(file, 'utf8')).toBe('451000\n')
})

test('a deadline that cannot be written counts in this daemon, and one that was cut off is none', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-fence-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const logger = pino({ level: 'silent' })
  const fenceAt = (file: string, now: number) =>
    createFence({ leaseMs: LEASE_MS, uptimeMs: () => now, fileOf: () => join(folder, file), logger })
  writeFileSync(join(folder, 'plain'), '')
  const late = fenceAt('plain/deadline', LEASE_MS)
  late.move([LEASE], 0)
  expect(late.isOver(LEASE)).toBe(true)
  for (const text of ['', '45', 'x\n']) {
    writeFileSync(join(folder, 'cut'), text)
    expect(fenceAt('cut', LEASE_MS).isOver(LEASE)).toBe(false)
  }
})
