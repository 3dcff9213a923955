import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { createBlackBox } from './black-box.ts'

const lease = (taskId: string) => ({ taskId, attempt: 1 })
const pending = () => new Promise<never>(() => undefined)

const tick = () => new Promise((resolve) => setTimeout(resolve, 20))

/** Daemons one after the other; each dies when the next is made. */
function daemons() {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-black-box-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const noted = new Map<string, unknown>()
  const notes = {
    read: (name: string) => noted.get(name),
    write: (name: string, value: unknown) => void noted.set(name, value),
  }
  const file = join(folder, 'at-work')
  return { file, next: () => createBlackBox({ file, notes, logger: pino({ level: 'silent' }) }) }
}

test('a task at which three daemons died is deadly; those that ended well beside it are not', async () => {
  const { next } = daemons()
  for (let death = 0; death < 3; death++) {
    const box = next()
    expect(box.isDeadly('bad')).toBe(false)
    await box.meanwhile(lease('good'), async () => undefined)
    box.during(lease('good'), () => undefined)
    void box.meanwhile(lease('bad'), pending)
    await tick()
  }
  const box = next()
  expect([box.isDeadly('bad'), box.isDeadly('good')]).toEqual([true, false])
  box.forget('bad')
  expect(next().isDeadly('bad')).toBe(false)
})

test('what was alone at work is blamed, not what waits beside it', () => {
  const { next } = daemons()
  for (let death = 0; death < 3; death++) {
    const box = next()
    void box.meanwhile(lease(`waits${death}`), pending)
    // As a process that dies in there: what follows is not written any more.
    box.during(lease('bad'), () => void next())
  }
  const box = next()
  expect(box.isDeadly('bad')).toBe(true)
  expect([0, 1, 2].map((death) => box.isDeadly(`waits${death}`))).toEqual([false, false, false])
})

test('of many at work none is ended in place of the one: after a death they go one at a time', async () => {
  const { next } = daemons()
  const names = ['a', 'b', 'bad', 'c']
  const first = next()
  for (const name of names) void first.meanwhile(lease(name), pending)
  const served: string[] = []
  for (let death = 0; death < 2; death++) {
    const box = next()
    for (const name of names)
      void box.meanwhile(lease(name), async () => {
        if (name === 'bad') await pending()
        served.push(name)
      })
    await tick()
  }
  const box = next()
  expect(names.filter((name) => box.isDeadly(name))).toEqual(['bad'])
  // The second death was that of `bad` alone: `c` need not wait behind it any more.
  expect(served).toEqual(['a', 'b', 'a', 'b', 'c'])
})

test('what gets on before each death is not blamed; once it no longer does it is', async () => {
  const { next } = daemons()
  for (let death = 0; death < 5; death++)
    void next().meanwhile(lease('long'), (gotOn) => {
      gotOn()
      return pending()
    })
  for (let death = 0; death < 3; death++) {
    const box = next()
    expect(box.isDeadly('long')).toBe(false)
    void box.meanwhile(lease('long'), pending)
    await tick()
  }
  expect(next().isDeadly('long')).toBe(true)
})

test('only deaths in a row count: one at another task, or at none, begins anew', () => {
  const { next } = daemons()
  for (const at of ['busy', 'busy', 'other', 'busy', 'busy', null, 'busy', 'busy']) {
    const box = next()
    if (at !== null) void box.meanwhile(lease(at), pending)
  }
  expect(next().isDeadly('busy')).toBe(false)
})

test('an end on purpose, or an unreadable file, is no death; a death counts once', async () => {
  const { next, file } = daemons()
  for (let end = 0; end < 4; end++) {
    const box = next()
    void box.meanwhile(lease('long'), pending)
    await tick()
    box.close()
  }
  expect(next().isDeadly('long')).toBe(false)
  const line = 'somebody once'
  for (let start = 0; start < 4; start++) {
    next()
    writeFileSync(file, `${line}\n`)
  }
  expect(next().isDeadly('once')).toBe(false)
  writeFileSync(file, Buffer.from([0, 255, 10]))
  expect(next().isDeadly('long')).toBe(false)
})

test('a full disk keeps no daemon from its start', () => {
  const { file, next } = daemons()
  void next().meanwhile(lease('bad'), pending)
  const notes = {
    read: () => undefined,
    write: () => {
      throw new Error('disk full')
    },
  }
  const box = createBlackBox({ file, notes, logger: pino({ level: 'silent' }) })
  expect(box.isDeadly('bad')).toBe(false)
})
