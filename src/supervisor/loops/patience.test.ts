import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createBeats, createPulse } from './beats.ts'
import { createPatience } from './patience.ts'

const CALL_MS = 400
const SILENT_MS = 150

/** Two loops of one daemon; each asks somebody far, who answers when the test says so. */
function stage(callMs = CALL_MS) {
  const beats = createBeats()
  const watched = (loop: 'delivery' | 'teller') => {
    const state = { running: Promise.resolve() as Promise<unknown> }
    const patience = createPatience((...given) => createPulse(beats, ...given, 10), { callMs })
    const pulse = patience.pulse(loop, () => state.running)
    onTestFinished(() => pulse.close())
    const far = patience.through({
      ask: async (ms: number) => sleep(ms, ms, { ref: false }),
      name: 'far',
    })
    const run = (work: Promise<unknown>) => {
      state.running = Promise.all([state.running, work])
    }
    return { far, run }
  }
  return { beats, delivery: watched('delivery'), teller: watched('teller') }
}

/** Step after step until the test is over. */
async function endless(step: () => Promise<unknown>): Promise<void> {
  const over = new AbortController()
  onTestFinished(() => over.abort())
  while (!over.signal.aborted) await step()
}

// On a busy machine a loop may be late for a moment, whatever it does: what is looked for goes on until it is seen.

test('a call that takes longer than a loop may is no hang', async () => {
  const { beats, delivery } = stage(60_000)
  delivery.run(delivery.far.ask(60_000))
  await sleep(SILENT_MS + 100)
  await expect.poll(() => beats.silent(SILENT_MS)).toEqual([])
})

test('nor is a chain of calls, each shorter than a call may be, however long it takes', async () => {
  const { beats, delivery } = stage()
  const step = async () => {
    await delivery.far.ask(30)
    await sleep(30)
  }
  delivery.run(endless(step))
  await sleep(CALL_MS + SILENT_MS)
  await expect.poll(() => beats.silent(SILENT_MS)).toEqual([])
})

test('a call that never comes back is a hang once it took longer than any call', async () => {
  const { beats, delivery } = stage()
  delivery.run(delivery.far.ask(60_000))
  await sleep(CALL_MS + 2 * SILENT_MS)
  await expect.poll(() => beats.silent(SILENT_MS)).toEqual(['delivery'])
})

test('a loop that hangs in something else is silent, whatever another loop asks', async () => {
  const { beats, delivery, teller } = stage()
  delivery.run(new Promise(() => undefined))
  teller.run(endless(() => teller.far.ask(20)))
  await sleep(2 * SILENT_MS)
  await expect.poll(() => beats.silent(SILENT_MS)).toEqual(['delivery'])
})

test('what it asks answers as before, and the rest is as it was', async () => {
  const { delivery } = stage()
  expect([await delivery.far.ask(5), delivery.far.name]).toEqual([5, 'far'])
})
