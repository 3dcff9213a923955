import { expect, test } from 'vitest'
import { createNotes } from '../../store/notes.ts'
import { openForTest, temporaryHome } from '../../store/temporary-database.ts'
import { createSleepNote, forgiveSleep, machineSleptMs } from './slept.ts'

test('what the machine slept is noted as it goes, and by the next daemon where that finds more or less', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const notes = createNotes(db)
  let slept: number | null = 5000
  const sleptMs = () => slept
  const look = createSleepNote({ notes, sleptMs })
  look()
  expect(notes.read('slept')).toBe(5000)
  slept = 65_000
  look()
  expect(notes.read('slept')).toBe(65_000)
  const paused: number[] = []
  const attempts = {
    openOnes: () => [{ state: 'working' }, { state: 'waiting' }, { state: 'spawning' }],
    addPaused: (_: unknown, ms: number) => void paused.push(ms),
  } as unknown as Parameters<typeof forgiveSleep>[0]['attempts']
  const begin = () => forgiveSleep({ attempts, notes, sleptMs })
  slept += 60_000
  begin()
  // Two clocks that were not read in the same moment.
  slept += 500
  begin()
  expect(paused).toEqual([60_000, 60_000])
  // The machine was started anew; and one whose clocks do not tell.
  slept = 0
  begin()
  slept = null
  begin()
  look()
  expect([paused.length, notes.read('slept')]).toEqual([2, 0])
  db.close()
})

test.skipIf(process.platform !== 'linux')('two looks at a machine that is awake tell the same', async () => {
  const before = machineSleptMs() ?? 0
  await new Promise((resolve) => setTimeout(resolve, 1500))
  expect(Math.abs((machineSleptMs() ?? 0) - before)).toBeLessThan(100)
})
