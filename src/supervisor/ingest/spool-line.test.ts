import { mkdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { temporaryHome } from '../../store/temporary-database.ts'
import { createSpoolLine } from './spool-line.ts'

function prepare() {
  const home = temporaryHome()
  const folder = join(home.folder, 'spool')
  mkdirSync(folder)
  let woken = 0
  const line = createSpoolLine({
    folder,
    taskId: 't1',
    wake: () => void woken++,
    removal: () => Promise.resolve(),
    clock: Date.now,
    logger: pino({ level: 'silent' }),
  })
  onTestFinished(() => {
    line.close()
    home[Symbol.dispose]()
  })
  return { folder, line, woken: () => woken }
}

function put(folder: string, stem: string): void {
  writeFileSync(join(folder, `.part.${stem}`), '{}')
  renameSync(join(folder, `.part.${stem}`), join(folder, `${stem}.json`))
}

test('the removal of what was taken out is no news; the same name that is written again is', async () => {
  const { folder, line, woken } = prepare()
  await line.refill()
  put(folder, '1.a')
  await expect.poll(woken).toBeGreaterThan(0)
  // All that the kernel has to say of it.
  await sleep(100)
  await line.refill()
  expect(line.next()?.stem).toBe('1.a')
  expect(line.hasWork()).toBe(false)
  const before = woken()
  unlinkSync(join(folder, '1.a.json'))
  // The notices of a folder come in order: with this one that one was heard.
  writeFileSync(join(folder, '.part.2.b'), '')
  await expect.poll(woken).toBe(before + 1)
  unlinkSync(join(folder, '.part.2.b'))
  await line.refill()
  put(folder, '1.a')
  await expect.poll(() => line.refill().then(() => line.next()?.stem)).toBe('1.a')
})
