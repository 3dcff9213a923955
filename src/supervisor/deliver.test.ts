import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { FinishReply, Queue, Report } from '../core/queue.ts'
import type { Outbox } from '../store/outbox.ts'
import { createDelivery } from './deliver.ts'

const report = (taskId: string): Report => ({
  taskId,
  attempt: 1,
  outcome: 'succeeded',
  result: null,
  error: null,
  retryAfterMs: null,
  resume: null,
})

function prepare(finish: (report: Report) => Promise<FinishReply>, waiting: Report[]) {
  const pending = [...waiting]
  const outbox: Outbox = {
    waiting: () => ({ depth: 0, oldestAt: null }),
    pending: (limit) => pending.slice(0, limit),
    markDelivered: ({ taskId }) =>
      void pending.splice(
        pending.findIndex((one) => one.taskId === taskId),
        1,
      ),
  }
  const delivered: string[] = []
  const delivery = createDelivery({
    outbox,
    queue: { finish } as Queue,
    clock: () => 5,
    logger: pino({ level: 'silent' }),
    onDelivered: (taskId) => void delivered.push(taskId),
  })
  onTestFinished(() => delivery.close())
  return { delivery, delivered, pending }
}

test('reports go out in order, each until the queue has answered, whatever it answered', async () => {
  const replies: FinishReply[] = ['succeeded', 'duplicate', 'stale', 'not_yours', 'unknown']
  const waiting = ['a', 'b', 'c', 'd', 'e'].map(report)
  const { delivery, delivered, pending } = prepare(async () => replies.shift() ?? 'unknown', waiting)
  delivery.nudge()
  delivery.nudge()
  await delivery.close()
  expect(delivered).toEqual(['a', 'b', 'c', 'd', 'e'])
  expect(pending).toEqual([])
})

test('a queue that fails is asked again, and nothing is taken for delivered before', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const finish = vi
    .fn<Queue['finish']>()
    .mockRejectedValueOnce(new Error('disk full'))
    .mockResolvedValue('succeeded')
  const { delivery, delivered, pending } = prepare(finish, [report('a')])
  delivery.nudge()
  await vi.advanceTimersByTimeAsync(4000)
  expect(delivered).toEqual([])
  expect(pending).toHaveLength(1)
  await vi.advanceTimersByTimeAsync(2000)
  expect(delivered).toEqual(['a'])
  expect(finish).toHaveBeenCalledTimes(2)
})

test('after closing nothing is sent', async () => {
  const finish = vi.fn<Queue['finish']>().mockResolvedValue('succeeded')
  const { delivery } = prepare(finish, [report('a')])
  await delivery.close()
  delivery.nudge()
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect(finish).not.toHaveBeenCalled()
})
