import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { CcmError } from '../../core/errors.ts'
import type { FinishReply, Queue, Report } from '../../core/task/queue.ts'
import type { Outbox } from '../../store/outbox.ts'
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

function prepare(
  finish: (report: Report) => Promise<FinishReply>,
  waiting: Report[],
  finishMany: Queue['finishMany'] = (reports) => Promise.all(reports.map(finish)),
) {
  const pending = [...waiting]
  const outbox: Outbox = {
    waiting: () => ({ depth: 0, oldestAt: null }),
    pending: (limit) => pending.slice(0, limit),
    markDelivered: (leases) => {
      for (const { taskId } of leases) {
        pending.splice(
          pending.findIndex((one) => one.taskId === taskId),
          1,
        )
      }
    },
  }
  const delivered: string[] = []
  const delivery = createDelivery({
    outbox,
    queue: { finish, finishMany } as Queue,
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

test('where many wait, a hundred go in one step, and all of them without another nudge', async () => {
  const waiting = Array.from({ length: 250 }, (_, index) => report(`t${index}`))
  const finishMany = vi.fn<Queue['finishMany']>(async (reports) => reports.map(() => 'succeeded' as const))
  const finish = vi.fn<Queue['finish']>()
  const { delivery, delivered, pending } = prepare(finish, waiting, finishMany)
  delivery.nudge()
  await delivery.close()
  expect(finishMany.mock.calls.map(([reports]) => reports.length)).toEqual([100, 100, 50])
  expect(finish).not.toHaveBeenCalled()
  expect(delivered).toEqual(waiting.map(({ taskId }) => taskId))
  expect(pending).toEqual([])
})

test('a report that the queue cannot take holds up no other', async () => {
  const takes = async ({ taskId }: Report): Promise<FinishReply> => {
    if (taskId === 'c') throw new Error('too odd')
    return 'succeeded'
  }
  const { delivery, delivered, pending } = prepare(takes, ['a', 'b', 'c', 'd'].map(report))
  delivery.nudge()
  await delivery.close()
  expect(delivered).toEqual(['a', 'b', 'd'])
  expect(pending.map(({ taskId }) => taskId)).toEqual(['c'])
})

test('a hundred that cannot be taken do not hide those behind them for longer than they are refused', async () => {
  const takes = async ({ taskId }: Report): Promise<FinishReply> => {
    if (taskId.startsWith('odd')) throw new Error('too odd')
    return 'succeeded'
  }
  const waiting = Array.from({ length: 250 }, (_, index) =>
    report(index % 3 === 0 ? `odd${index}` : `t${index}`),
  )
  const { delivery, delivered } = prepare(takes, waiting)
  delivery.nudge()
  await delivery.close()
  expect(delivered).toEqual(waiting.map(({ taskId }) => taskId).filter((id) => id.startsWith('t')))
})

test.each(['SUPABASE_UNREACHABLE', 'SUPABASE_KEY', 'STALE_LEASE', 'DISK_FULL'] as const)(
  'where every report would be answered %s the queue is not asked again for each',
  async (code) => {
    const finish = vi.fn<Queue['finish']>()
    const finishMany = vi.fn<Queue['finishMany']>().mockRejectedValue(new CcmError(code, 'No.'))
    const { delivery, delivered } = prepare(finish, ['a', 'b'].map(report), finishMany)
    delivery.nudge()
    await delivery.close()
    expect(finishMany).toHaveBeenCalledTimes(1)
    expect(finish).not.toHaveBeenCalled()
    expect(delivered).toEqual([])
  },
)

test('a queue that goes away while reports go one by one is asked for none behind', async () => {
  const away = new CcmError('SUPABASE_UNREACHABLE', 'Away.')
  const finish = vi.fn<Queue['finish']>().mockResolvedValueOnce('succeeded').mockRejectedValue(away)
  const finishMany = vi
    .fn<Queue['finishMany']>()
    .mockRejectedValueOnce(new Error('one is too odd'))
    .mockRejectedValue(away)
  const { delivery, delivered } = prepare(finish, ['a', 'b', 'c', 'd'].map(report), finishMany)
  delivery.nudge()
  await delivery.close()
  expect(delivered).toEqual(['a'])
  expect(finish).toHaveBeenCalledTimes(2)
})
