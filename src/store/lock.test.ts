import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { acquireHomeLock } from './lock.ts'
import { temporaryHome } from './temporary-database.ts'

/** A process that holds the lock until it is killed; it has the lock once this resolves. */
async function holder(file: string): Promise<ChildProcess> {
  const program = `
    import { acquireHomeLock } from ${JSON.stringify(new URL('./lock.ts', import.meta.url).href)}
    acquireHomeLock(${JSON.stringify(file)})
    process.stdout.write('held')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.stdout === null) throw new Error('no stdout')
  const [text] = (await once(child.stdout, 'data')) as [Buffer]
  expect(text.toString()).toBe('held')
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

test('a second daemon is told which process holds the home', async () => {
  using home = temporaryHome()
  const file = join(home.folder, 'lock')
  const child = await holder(file)
  try {
    expect(() => acquireHomeLock(file)).toThrow(
      expect.objectContaining({
        code: 'LOCKED',
        message: expect.stringContaining(`process ${child.pid} `),
        remedy: expect.stringContaining('ccm stop'),
      }),
    )
  } finally {
    await kill(child)
  }
})

test('the lock of a killed daemon is free at once, whatever it left behind', async () => {
  using home = temporaryHome()
  const file = join(home.folder, 'lock')
  for (let round = 0; round < 3; round += 1) {
    const child = await holder(file)
    await kill(child)
    expect(existsSync(`${file}.pid`)).toBe(true)
    const startedAt = performance.now()
    acquireHomeLock(file).release()
    expect(performance.now() - startedAt).toBeLessThan(5_000)
  }
})

test('a refused daemon neither takes the lock away nor writes its pid', async () => {
  using home = temporaryHome()
  const file = join(home.folder, 'lock')
  const child = await holder(file)
  try {
    for (let round = 0; round < 2; round += 1) {
      expect(() => acquireHomeLock(file)).toThrow(`process ${child.pid} `)
    }
  } finally {
    await kill(child)
  }
})

test('two homes have two locks, and a released lock can be taken again', () => {
  using home = temporaryHome()
  const first = acquireHomeLock(join(home.folder, 'a'))
  const second = acquireHomeLock(join(home.folder, 'b'))
  first.release()
  first.release()
  const again = acquireHomeLock(join(home.folder, 'a'))
  expect(existsSync(join(home.folder, 'a.pid'))).toBe(true)
  again.release()
  expect(existsSync(join(home.folder, 'a.pid'))).toBe(false)
  second.release()
})

test('a lock that cannot be made is an error with a remedy', () => {
  using home = temporaryHome()
  expect(() => acquireHomeLock(home.folder)).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNUSABLE', remedy: expect.stringContaining('CCM_HOME') }),
  )
  const garbage = join(home.folder, 'garbage')
  writeFileSync(garbage, 'x'.repeat(5000))
  expect(() => acquireHomeLock(garbage)).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNUSABLE', remedy: expect.stringContaining('Delete') }),
  )
})
