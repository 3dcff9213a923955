import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { hang, LIMIT_MS } from './hang-fixture.ts'

// Whole daemons side by side: on a busy machine they wait for each other.
vi.setConfig({ testTimeout: 90_000 })

// Not beside the others: the stack is asked of a thread that has to get its turn within a second.
test('an endless loop is ended, told on stderr and recorded', { retry: 2 }, async (context) => {
  const hung = hang('an endless loop', context)
  expect((await hung.ended).signal).toBe('SIGKILL')
  expect(hung.output.stderr).toContain('spinForEver')
  expect(hung.report()?.stack[0]).toContain('spinForEver')
})

test.concurrent(
  'a loop whose promise never settles is a hang, while the event loop goes on',
  async (context) => {
    const hung = hang('a stalled promise', context)
    const { signal } = await hung.ended
    expect(signal).toBe('SIGKILL')
    expect(hung.report()).toMatchObject({ loop: 'sweep' })
  },
)

test.concurrent.for(['nothing at all', 'a pause below the limit'])(
  'who does %s for less than the limit lives',
  async (way, context) => {
    const { child, output } = hang(way, context)
    const isOver = () => child.exitCode !== null || child.signalCode !== null
    while (!output.stdout.includes('alive') && !isOver()) await sleep(50)
    expect({ said: output.stdout, signal: child.signalCode }).toEqual({
      said: 'hangs\nalive\n',
      signal: null,
    })
  },
)

test.concurrent('a process that was stopped for longer than its limit lives on', async (context) => {
  const stopped = hang('nothing at all', context)
  while (!stopped.output.stdout.includes('hangs')) await sleep(20)
  stopped.child.kill('SIGSTOP')
  await sleep(LIMIT_MS * 2)
  stopped.child.kill('SIGCONT')
  await sleep(LIMIT_MS)
  expect(stopped.child.signalCode).toBeNull()
  expect(stopped.report()).toBeNull()
})

test.concurrent('after an orderly end nothing of the watchdog keeps the process', async (context) => {
  const over = hang('an orderly end', context)
  expect((await over.ended).signal).toBeNull()
  expect(over.output.stdout).toBe('hangs\nended\n')
})
