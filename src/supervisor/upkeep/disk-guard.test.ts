import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { mountSmall } from '../../../test/support/disk.ts'
import { createIncidents } from '../../store/incidents.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createRecorder } from '../incidents/recorder.ts'
import { createDiskGuard, giveUpBallast, recordDisk } from './disk-guard.ts'

const MB = 1024 * 1024

test('claims stop on a disk that becomes full, the reserve makes room, and both come back by themselves', async ({
  skip,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-disk-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const home = join(folder, 'home')
  await using mounted = await mountSmall(home, '16m')
  if (mounted === null) return skip('nothing may be mounted here')
  const held = new Set<string>()
  const turns: string[] = []
  const guard = createDiskGuard({
    home,
    ballastBytes: 4 * MB,
    hold: ({ kind }) => held.add(kind),
    lift: (kind) => held.delete(kind),
    turned: (state) => void turns.push(state),
    logger: pino({ level: 'silent' }),
    lookMs: 20,
  })
  const ballast = join(home, 'ballast')
  const becomes = async (state: string) =>
    await expect.poll(() => guard.state(), { timeout: 10_000, interval: 10 }).toBe(state)
  await expect.poll(() => existsSync(ballast) && statSync(ballast).size, { timeout: 10_000 }).toBe(4 * MB)
  expect(guard.state()).toBe('ok')

  writeFileSync(join(home, 'other'), Buffer.alloc(9 * MB))
  await becomes('low')
  expect([...held]).toEqual(['disk'])
  expect(existsSync(ballast)).toBe(true)

  writeFileSync(join(home, 'more'), Buffer.alloc(3 * MB - 64 * 1024))
  await becomes('full')
  expect(existsSync(ballast)).toBe(false)
  writeFileSync(join(home, 'what runs'), Buffer.alloc(2 * MB))

  for (const name of ['other', 'what runs']) rmSync(join(home, name))
  await becomes('ok')
  expect([...held]).toEqual([])
  expect(statSync(ballast).size).toBe(4 * MB)

  // A write that failed says so before the next look.
  guard.full()
  expect([guard.state(), existsSync(ballast), held.has('disk')]).toEqual(['full', false, true])
  await becomes('ok')
  expect(turns).toEqual(['ok', 'low', 'full', 'ok', 'full', 'ok'])
  await guard.close()
})

test('after an alarm it takes twice the room to begin again, so that a disk at its edge does not go to and fro', async ({
  skip,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-disk-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const home = join(folder, 'home')
  await using mounted = await mountSmall(home, '16m')
  if (mounted === null) return skip('nothing may be mounted here')
  const other = join(home, 'other')
  writeFileSync(other, Buffer.alloc(7 * MB))
  const guard = createDiskGuard({
    home,
    ballastBytes: 4 * MB,
    hold: () => undefined,
    lift: () => undefined,
    logger: pino({ level: 'silent' }),
    lookMs: 5,
  })
  const ballast = join(home, 'ballast')
  await expect.poll(() => existsSync(ballast)).toBe(true)
  guard.full()
  // 9 MB are free: without the reserve, that is 5.
  await sleep(200)
  expect([guard.state(), existsSync(ballast)]).toEqual(['full', false])
  rmSync(other)
  await expect.poll(() => guard.state()).toBe('ok')
  await guard.close()
})

test('room that came back while no daemon ran ends the alarm of before', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const incidents = createIncidents(db)
  const logger = pino({ level: 'silent' })
  const recorder = createRecorder({
    incidents,
    notifiers: [],
    clock: Date.now,
    logger,
    nudge: () => undefined,
  })
  recordDisk(recorder)('full', 'The disk is full.')
  const guard = createDiskGuard({
    home: dirname(home.file),
    ballastBytes: MB,
    hold: () => undefined,
    lift: () => undefined,
    turned: recordDisk(recorder),
    logger,
    lookMs: 20,
  })
  await expect.poll(() => recorder.isOpen('disk'), { timeout: 10_000, interval: 10 }).toBe(false)
  await guard.close()
  db.close()
})

test('a reserve that could not be made takes no room, and one that was begun is given up, too', async () => {
  const home = mkdtempSync(join(tmpdir(), 'ccm-disk-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const part = join(home, 'ballast.part')
  // Nothing can be renamed to it.
  mkdirSync(join(home, 'ballast', 'x'), { recursive: true })
  const warned: string[] = []
  const guard = createDiskGuard({
    home,
    ballastBytes: MB,
    hold: () => undefined,
    lift: () => undefined,
    logger: pino({ level: 'warn' }, { write: (line: string) => void warned.push(line) }),
  })
  await guard.close()
  expect(warned.join()).toContain('DISK_LOOK')
  expect(existsSync(part)).toBe(false)

  rmSync(join(home, 'ballast'), { recursive: true })
  expect(giveUpBallast(home)).toBe(false)
  // Of a daemon that was killed while it made it.
  writeFileSync(part, 'x')
  expect([giveUpBallast(home), existsSync(part)]).toEqual([true, false])
})
