import { afterEach, beforeEach, expect, test } from 'vitest'
import { createNotedCancels } from '../../src/store/noted-cancels.ts'
import { eventually } from '../supervisor/fleet.ts'
import { openGateway, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import {
  addTask,
  createSharedFleet,
  goAway,
  insertTask,
  newSystem,
  type SharedDaemon,
  type SharedFleet,
} from './shared-fleet.ts'

const TEST = { timeout: 90_000 }
describeOnSupabase('cancels and dependencies while Supabase does not answer', (supabase) => {
  let gateway: TestGateway
  let system = ''
  beforeEach(async () => {
    gateway = await openGateway(supabase())
    system = await newSystem(supabase())
  })
  afterEach(async () => gateway[Symbol.asyncDispose]())

  const fleetOf = () =>
    createSharedFleet(supabase(), {
      url: gateway.url,
      system,
      worker: 'm1',
      queue: 'lease = "60s"\nheartbeat = "500ms"\nsweep = "500ms"',
    })
  const row = async (id: string) =>
    (
      await supabase().sql<{ status: string; error: string | null }>(
        'SELECT status, error FROM tasks WHERE system_id = $1 AND id = $2',
        [system, id],
      )
    )[0]
  /** Nobody has its label, so that it waits. */
  const add = (daemon: SharedDaemon, prompt: string, more: object = {}) =>
    addTask(daemon, prompt, { labels: ['nobody'], ...more })
  const away = (daemon: SharedDaemon) => goAway(gateway, daemon)
  const noted = ({ db }: SharedFleet) => createNotedCancels(db).list()
  const told = ({ deps }: SharedFleet) =>
    deps.incidents
      .list({ limit: 20, open: false })
      .flatMap(({ kind, what }) => (kind === 'accepted_refused' ? [what] : []))

  test(
    'a queued task that is cancelled then is shown so, also by the next daemon, and cancelled once it is back',
    TEST,
    async () => {
      await using fleet = await fleetOf()
      const first = await fleet.start()
      const { task } = await add(first, 'Seen here')
      const strange = await insertTask(supabase(), system, 'By others', ['nobody'])
      await away(first)
      expect(await first.supervisor.cancel(task.id, 'Enough.')).toBe('requested')
      expect(await first.supervisor.cancel(strange, 'That too.')).toBe('requested')
      const look = async ({ chosen, supervisor }: SharedDaemon) => {
        const one = await chosen.queue.get(task.id)
        if (one === null) throw new Error('it is gone')
        expect(one).toMatchObject({ status: 'queued', cancelRequested: true, prompt: 'Seen here' })
        expect((await supervisor.factsOf(one)).reason).toMatch(/^queue: It is being cancelled/)
        const all = await chosen.seen({ limit: 9 })
        expect(all.map(({ id, cancelRequested }) => [id, cancelRequested])).toEqual(
          expect.arrayContaining([
            [task.id, true],
            [strange, true],
          ]),
        )
        const prefix = task.id.slice(0, 11)
        expect(await chosen.queue.idsByPrefix(prefix, null)).toContain(task.id)
        expect(await chosen.queue.idsByPrefix(prefix, ['work'])).toContain(task.id)
        await expect(chosen.queue.idsByPrefix(prefix, ['others'])).rejects.toThrow(/did not answer/)
        expect(chosen.shared?.cancelWaits(task.id)).toBe(true)
      }
      await look(first)
      // That nothing is known of it does not mean that there is none.
      await expect(first.chosen.queue.idsByPrefix('zzzz', null)).rejects.toThrow(/did not answer/)
      await first.close()
      const second = await fleet.start()
      await look(second)
      expect(await row(task.id)).toMatchObject({ status: 'queued' })
      await gateway.up()
      await eventually(async () => (await row(task.id))?.status === 'cancelled', 30_000)
      expect(await row(task.id)).toEqual({ status: 'cancelled', error: 'Enough.' })
      await eventually(async () => (await row(strange))?.status === 'cancelled', 20_000)
      await eventually(() => noted(fleet).length === 0)
      expect(await second.chosen.queue.get(task.id)).toMatchObject({ status: 'cancelled' })
      expect(told(fleet)).toEqual([])
      await second.close()
    },
  )

  test(
    'what ran or was over by then follows the contract, and of a task that never was people are told',
    TEST,
    async () => {
      await using fleet = await fleetOf()
      const daemon = await fleet.start()
      const { task: runs } = await add(daemon, 'Runs elsewhere')
      const { task: over } = await add(daemon, 'Over')
      await away(daemon)
      for (const id of [runs.id, over.id, '0000000000zz']) await daemon.supervisor.cancel(id, 'Enough.')
      // Another machine has it meanwhile, and one is over.
      const { asAdmin } = supabase()
      await asAdmin(`SELECT worker_register($1, 'm2', '{}')`, [system])
      await asAdmin(`SELECT tasks_claim($1, 'm2', 1, 9, 60000, '{work}', null, '{nobody}')`, [system])
      await asAdmin(`SELECT task_finish($1, 'm2', 1, $2, 1, 'succeeded', null, null, null, null, null)`, [
        system,
        over.id,
      ])
      await gateway.up()
      await eventually(() => noted(fleet).length === 0, 30_000)
      expect(await row(over.id)).toMatchObject({ status: 'succeeded' })
      expect(
        await supabase().sql('SELECT status, cancel_requested FROM tasks WHERE id = $1', [runs.id]),
      ).toEqual([{ status: 'running', cancel_requested: true }])
      expect(told(fleet)).toEqual(['The queue knows no task 0000000000zz, which was to be cancelled.'])
      await daemon.close()
    },
  )

  test(
    'a cancel makes room: what was accepted behind it for a full queue and under its key goes in',
    TEST,
    async () => {
      await supabase().sql('UPDATE systems SET max_queued = 1 WHERE id = $1', [system])
      await using fleet = await fleetOf()
      const daemon = await fleet.start()
      const { task } = await add(daemon, 'Old', { dedupeKey: 'k' })
      await away(daemon)
      const { task: next } = await add(daemon, 'New', { dedupeKey: 'k' })
      await daemon.supervisor.cancel(task.id, 'Make room.')
      await gateway.up()
      await eventually(async () => (await row(next.id))?.status === 'queued', 20_000)
      expect(await row(task.id)).toMatchObject({ status: 'cancelled' })
      await daemon.close()
    },
  )

  test(
    'a task may wait for one that this machine does not know: it starts after it, or is refused and people are told',
    TEST,
    async () => {
      await using fleet = await fleetOf()
      const daemon = await fleet.start()
      const strange = await insertTask(supabase(), system, 'By others', ['nobody'])
      const foreign = await insertTask(supabase(), await newSystem(supabase()), 'Of another system')
      await away(daemon)
      const good = await add(daemon, 'Good', { dependsOn: [strange] })
      const bad = await add(daemon, 'Bad', { dependsOn: ['zzzzzzzzzzzz'] })
      const worse = await add(daemon, 'Worse', { dependsOn: [foreign] })
      const doomed = await add(daemon, 'Doomed', { dependsOn: [bad.task.id] })
      const last = await add(daemon, 'Last')
      expect([good.held, bad.held, worse.held, doomed.held]).toEqual([true, true, true, true])
      // An id that was made up draws no later one after it.
      const ids = [good, bad, worse, doomed, last].map(({ task }) => task.id)
      expect(ids).toEqual(ids.toSorted())
      await gateway.up()
      await eventually(async () => (await row(last.task.id))?.status === 'queued', 30_000)
      expect(await row(good.task.id)).toMatchObject({ status: 'queued' })
      const seen = async (id: string) => {
        const { status, error } = (await daemon.chosen.queue.get(id)) ?? {}
        return [status, error]
      }
      expect(await seen(bad.task.id)).toEqual([
        'failed',
        'The queue refused it: It depends on task zzzzzzzzzzzz, which does not exist.',
      ])
      expect(await seen(worse.task.id)).toEqual(['failed', expect.stringContaining('which does not exist')])
      expect(await seen(doomed.task.id)).toEqual(['cancelled', expect.stringContaining('was refused')])
      expect((await daemon.chosen.seen({ limit: 9 })).map(({ id }) => id)).toContain(bad.task.id)
      expect(told(fleet).toSorted()).toEqual(
        [bad, worse]
          .map(({ task }) => expect.stringContaining(`Task ${task.id} was refused.`) as string)
          .toSorted(),
      )
      await daemon.close()
    },
  )
})
