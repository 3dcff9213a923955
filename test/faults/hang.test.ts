import { expect, test } from 'vitest'
import { hangSentence } from '../../src/supervisor/loops/watchdog.ts'
import { hang, LIMIT_MS } from '../supervisor/hang-fixture.ts'

test.for([
  ['an endless loop', 'spinForEver'],
  ['a catastrophic regex', 'matchForEver'],
  ['a synchronous child', '(child process: sleep 20)'],
  ['Atomics.wait', 'test/supervisor/hang.ts'],
  ['an endless query', 'in native code'],
  ['a microtask flood', 'floodForEver'],
])(
  '%s is ended within its limit and a second, and its stack names the culprit',
  async ([way = '', culprit], context) => {
    const hung = hang(way, context)
    const { signal, afterMs } = await hung.ended
    expect(signal).toBe('SIGKILL')
    // Not before the limit, but for the last beat, which may be a tenth of it old.
    expect(afterMs).toBeGreaterThan(LIMIT_MS * 0.8)
    expect(afterMs).toBeLessThan(LIMIT_MS + 1000)
    const report = hung.report()
    expect(report).toMatchObject({ pid: hung.child.pid, loop: 'event loop', limitMs: LIMIT_MS })
    expect(report?.stack.join('\n')).toContain(culprit)
    expect(report === null ? '' : hangSentence(report)).toMatch(
      /its event loop gave no sign of life for 1.5 s/,
    )
    const line = JSON.parse(hung.output.stderr) as Record<string, unknown>
    expect(line).toMatchObject({ level: 'fatal', code: 'HANG', msg: 'the daemon hangs and is ended' })
    expect(JSON.stringify(line)).toContain(culprit)
  },
)

test('twelve that hang at once on a busy machine are each recorded', async (context) => {
  const hung = Array.from({ length: 12 }, () => hang('an endless query', context))
  for (const { ended } of hung) expect((await ended).signal).toBe('SIGKILL')
  expect(hung.map(({ report, child }) => report()?.pid === child.pid)).toEqual(hung.map(() => true))
  for (const { output } of hung) expect(output.stderr).toContain('the daemon hangs and is ended')
})
