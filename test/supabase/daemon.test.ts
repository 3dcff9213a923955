import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import type { ScriptedReply } from '../../src/demo/model.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { createStage, daemonLog, type Stage } from '../e2e/stage.ts'
import { openGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import type { TestSupabase } from '../support/supabase.ts'

const TEST = { timeout: 180_000 }
const say = (text: string): ScriptedReply => ({ kind: 'message', text })
const bash = (command: string): ScriptedReply => ({
  kind: 'message',
  tools: [{ name: 'Bash', input: { command, description: 'a step' } }],
})

type Row = {
  id: string
  status: string
  attempt: number
  worker: string | null
  error: string | null
  result: { text: string; files: { path: string }[] } | null
}

let systems = 0

/** A system of its own, and the lines of ccm.toml that lead there. */
export async function newSystem(supabase: TestSupabase): Promise<{ system: string; config: string }> {
  systems += 1
  const system = `daemon-${systems}`
  await supabase.sql('INSERT INTO systems (id) VALUES ($1)', [system])
  const config = [
    '[supabase]',
    `url = "${supabase.url}"`,
    `secret_key = "${supabase.secretKey}"`,
    `system = "${system}"`,
    '[queue]',
    'sweep = "1s"',
  ].join('\n')
  return { system, config }
}

async function untilRow(
  supabase: TestSupabase,
  stage: Stage,
  id: string,
  wanted: (row: Row) => boolean,
): Promise<Row> {
  const end = Date.now() + 60_000
  for (;;) {
    const [row] = await supabase.sql<Row>(
      'SELECT id, status, attempt, worker, error, result FROM tasks WHERE id = $1',
      [id],
    )
    if (row !== undefined && wanted(row)) return row
    if (Date.now() > end)
      throw new Error(`the row did not get there: ${JSON.stringify(row)}\n${daemonLog(stage.home)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Registers `work` and waits until the database knows it. */
async function addProject(supabase: TestSupabase, stage: Stage, system: string): Promise<void> {
  expect(await stage.ccm(['projects', 'add', stage.work, '--trust'])).toMatchObject({ code: 0 })
  await expect
    .poll(() => supabase.sql(`SELECT name FROM projects WHERE system_id = $1`, [system]), { timeout: 10_000 })
    .toEqual([{ name: 'work' }])
}

const insert = async (supabase: TestSupabase, system: string, columns: Record<string, unknown>) => {
  const row = { system_id: system, project: 'work', ...columns }
  const names = Object.keys(row)
  const [inserted] = await supabase.sql<{ id: string }>(
    `INSERT INTO tasks (${names.join(', ')}) VALUES (${names.map((_, n) => `$${n + 1}`).join(', ')}) RETURNING id`,
    Object.values(row),
  )
  return inserted?.id ?? ''
}

describeOnSupabase('a daemon on Supabase', (supabase) => {
  test(
    'a row inserted by SQL is claimed, done by the real Claude Code, and its result is in the row',
    TEST,
    async () => {
      const { system, config } = await newSystem(supabase())
      await using stage = await createStage(
        ({ turn }) => (turn === 0 ? bash('echo 42 >answer.txt') : say('The answer is there.\n[DONE]')),
        { config: config.replace('[queue]', 'worker = "m1"\n[agents]\nlabels = ["gpu"]\n[queue]') },
      )
      writeFileSync(join(stage.work, 'note.txt'), '')
      await addProject(supabase(), stage, system)
      const id = await insert(supabase(), system, { prompt: 'Write the answer', labels: ['gpu'] })
      const row = await untilRow(
        supabase(),
        stage,
        id,
        ({ status }) => status !== 'queued' && status !== 'running',
      )
      expect(row).toMatchObject({ status: 'succeeded', attempt: 1, worker: 'm1', error: null })
      expect(row.result?.text).toBe('The answer is there.')
      expect(existsSync(join(stage.work, 'answer.txt'))).toBe(false)
      expect(await stage.task(id)).toMatchObject({ status: 'succeeded', agent_state: 'complete' })
    },
  )

  test('a greedy row gets the rights of the machine and no more', TEST, async () => {
    const { system, config } = await newSystem(supabase())
    await using stage = await createStage(
      ({ turn }) => (turn === 0 ? bash('node -e "console.log(1)" >stolen.txt') : say('[DONE]')),
      { config },
    )
    await addProject(supabase(), stage, system)
    const id = await insert(supabase(), system, {
      prompt: 'Take all',
      permission_mode: 'bypassPermissions',
      allowed_tools: ['Bash'],
      in_place: true,
    })
    const asks = await stage.until(id, ({ agent_state }) => agent_state === 'waiting', 60_000)
    expect(asks.dir).not.toBe(stage.work)
    expect(existsSync(join(asks.dir ?? stage.work, 'stolen.txt'))).toBe(false)
    expect(await stage.ccm(['cancel', id])).toMatchObject({ code: 0 })
    await untilRow(supabase(), stage, id, ({ status }) => status === 'cancelled')
    // The owner of this machine asks for it on this machine.
    const own = await stage.add('Take all', '--permission-mode', 'bypassPermissions', '--here')
    await untilRow(supabase(), stage, own.id, ({ status }) => status === 'succeeded')
    expect(existsSync(join(stage.work, 'stolen.txt'))).toBe(true)
  })

  test(
    'a task that is added while Supabase is away is answered with 202, shown, kept over a crash, and done once it is back',
    TEST,
    async () => {
      await using gateway = await openGateway(supabase())
      const { system, config } = await newSystem(supabase())
      await using stage = await createStage(() => say('All is well.\n[DONE]'), {
        config: config.replace(supabase().url, gateway.url),
      })
      await addProject(supabase(), stage, system)
      await gateway.down()
      const health = async () => (await stage.status()).shared?.supabase
      await expect.poll(health, { timeout: 20_000 }).toBe('down')
      const post = async (key: string, prompt: string) => {
        const { port } = JSON.parse(readFileSync(join(stage.home, 'daemon.json'), 'utf8')) as { port: number }
        const reply = await fetch(`http://127.0.0.1:${port}/api/tasks`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${readFileSync(join(stage.home, 'token'), 'utf8').trim()}`,
            'content-type': 'application/json',
            'idempotency-key': key,
          },
          body: JSON.stringify({ project: 'work', prompt }),
        })
        return { status: reply.status, task: (await reply.json()) as TaskJson }
      }
      const first = await post('k1', 'Look after it')
      expect(first).toMatchObject({ status: 202, task: { status: 'queued' } })
      const { id } = first.task
      expect(await post('k1', 'Look after it')).toEqual(first)
      // A crash may come between the task and the kept reply.
      const db = new Sqlite(join(stage.home, 'ccm.db'))
      db.exec('DELETE FROM idempotency')
      db.close()
      expect(await post('k1', 'Look after it')).toMatchObject({ status: 200, task: { id } })
      const asked = await stage.ccm(['run', '--no-wait', '--project', 'work', '--', 'Think again'])
      expect(asked).toMatchObject({ code: 0 })
      expect(`${asked.stdout}${asked.stderr}`).toContain('kept on this machine')
      await stage.crash()
      await expect
        .poll(async () => (await stage.ccm(['show', id.slice(0, 11)])).stdout, { timeout: 30_000 })
        .toContain('queued: queue: Supabase does not answer')
      const listed = await stage.ccm(['tasks'])
      expect(listed).toMatchObject({ code: 0, stderr: '' })
      const { stdout } = listed
      expect(stdout).toMatch(new RegExp(`Think again\\n${id} +queued`))
      const other = /^(\w{12}) .*Think again$/m.exec(stdout)?.[1] ?? ''
      expect((await stage.ccm(['cancel', other])).code).toBe(0)
      expect((await stage.ccm(['show', other])).stdout).toContain('cancelled')
      await gateway.up()
      await untilRow(supabase(), stage, id, ({ status }) => status === 'succeeded')
      expect(await supabase().sql('SELECT id FROM tasks WHERE system_id = $1', [system])).toEqual([{ id }])
      expect(await stage.task(id)).toMatchObject({ status: 'succeeded', attempt: 1 })
      expect((await stage.ccm(['show', other])).stdout).toContain('cancelled')
    },
  )
})
