import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../supervisor/fleet.ts'
import { openGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createSharedFleet, insertTask, newSystem } from './shared-fleet.ts'

const TEST = { timeout: 120_000 }

describeOnSupabase('what Supabase is told of projects', (supabase) => {
  const known = async (system: string) => {
    const [row] = await supabase().sql<{ names: string[] | null; worker: string[] | null }>(
      `SELECT (SELECT array_agg(name ORDER BY name) FROM projects WHERE system_id = $1) AS names,
         (SELECT array_agg(key ORDER BY key) FROM workers, jsonb_object_keys(projects) AS key WHERE system_id = $1) AS worker`,
      [system],
    )
    return row
  }
  const open = async () => {
    const gateway = await openGateway(supabase())
    const system = await newSystem(supabase())
    const fleet = await createSharedFleet(supabase(), { url: gateway.url, system, worker: 'm1' })
    const dirOf = (name: string) => {
      const dir = join(fleet.folder, name)
      mkdirSync(dir)
      return dir
    }
    return {
      gateway,
      system,
      fleet,
      dirOf,
      [Symbol.asyncDispose]: async () => {
        await fleet[Symbol.asyncDispose]()
        await gateway[Symbol.asyncDispose]()
      },
    }
  }

  test('whoever adds one is answered once others may ask for work on it', TEST, async () => {
    await using bench = await open()
    const daemon = await bench.fleet.start()
    await daemon.supervisor.addProject(bench.dirOf('one'), 'one', true)
    expect(await known(bench.system)).toEqual({ names: ['one', 'work'], worker: ['one', 'work'] })
    expect(daemon.supervisor.isTold('one')).toBe(true)
    await supabase().sql(`INSERT INTO tasks (system_id, project, prompt) VALUES ($1, 'one', 'x')`, [
      bench.system,
    ])
    // One that is not trusted may be asked for, and its tasks wait.
    await daemon.supervisor.addProject(bench.dirOf('two'), 'two', false)
    expect(await known(bench.system)).toEqual({ names: ['one', 'two', 'work'], worker: ['one', 'work'] })
    await daemon.supervisor.trustProject('two')
    expect(await known(bench.system)).toMatchObject({ worker: ['one', 'two', 'work'] })
    await daemon.close()
  })

  test(
    'in an outage it is answered all the same, and told afterwards: also by the next daemon',
    TEST,
    async () => {
      await using bench = await open()
      const daemon = await bench.fleet.start()
      await insertTask(supabase(), bench.system)
      await bench.gateway.down()
      await eventually(() => daemon.chosen.supabase() === 'down', 20_000)
      const from = performance.now()
      await daemon.supervisor.addProject(bench.dirOf('one'), 'one', true)
      expect(performance.now() - from).toBeLessThan(12_000)
      expect(daemon.supervisor.isTold('one')).toBe(false)
      await bench.gateway.up()
      await eventually(() => daemon.supervisor.isTold('one'), 40_000)
      expect(await known(bench.system)).toEqual({ names: ['one', 'work'], worker: ['one', 'work'] })
      await bench.gateway.down()
      await eventually(() => daemon.chosen.supabase() === 'down', 20_000)
      await daemon.supervisor.addProject(bench.dirOf('two'), 'two', true)
      expect(daemon.supervisor.isTold('two')).toBe(false)
      await daemon.close()
      const second = await bench.fleet.start()
      expect(second.supervisor.isTold('two')).toBe(false)
      expect(second.chosen.state()?.limitsReadAt).toBeNull()
      await bench.gateway.up()
      await eventually(async () => (await known(bench.system))?.worker?.includes('two') === true, 40_000)
      await eventually(() => second.supervisor.isTold('two'))
      expect(await known(bench.system)).toMatchObject({ names: ['one', 'two', 'work'] })
      await second.close()
    },
  )

  test(
    'limits set in the dashboard count on each machine and outlive its daemons; so do those set here',
    TEST,
    async () => {
      await using bench = await open()
      const first = await bench.fleet.start()
      const here = () => bench.fleet.deps.projects.byName('work')
      const limits = async () =>
        supabase().sql('SELECT max_running, paused FROM projects WHERE system_id = $1', [bench.system])
      await first.close()
      await supabase().sql('UPDATE projects SET max_running = 3, paused = true WHERE system_id = $1', [
        bench.system,
      ])
      const second = await bench.fleet.start()
      const startedAt = Date.now()
      await eventually(() => here()?.paused === true)
      expect(second.chosen.state()?.limitsReadAt).toBeGreaterThan(startedAt - 10_000)
      expect(here()).toMatchObject({ maxRunning: 3 })
      expect(await limits()).toEqual([{ max_running: 3, paused: true }])
      await second.supervisor.updateProject('work', { paused: false })
      expect(await limits()).toEqual([{ max_running: 3, paused: false }])
      // Whoever leaves it leaves it as it is for the others.
      expect((await second.supervisor.removeProject('work'))?.name).toBe('work')
      expect(await limits()).toEqual([{ max_running: 3, paused: false }])
      await second.close()
    },
  )

  test(
    'a machine that comes from a queue of its own brings the limits of its projects, where nobody has set any',
    TEST,
    async () => {
      await using bench = await open()
      const { projects } = bench.fleet.deps
      await supabase().sql('DELETE FROM projects WHERE system_id = $1', [bench.system])
      projects.update('work', { maxRunning: 2, paused: true })
      // Its own queue has heard of them.
      projects.toldLimits({ name: 'work', maxRunning: 2, paused: true })
      const daemon = await bench.fleet.start()
      await insertTask(supabase(), bench.system)
      expect(
        await supabase().sql('SELECT max_running, paused FROM projects WHERE system_id = $1', [bench.system]),
      ).toEqual([{ max_running: 2, paused: true }])
      expect(projects.byName('work')).toMatchObject({ maxRunning: 2, paused: true })
      await daemon.close()
    },
  )
})
