import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { InboxEntryJson } from '../../src/protocol/inbox.ts'
import { says } from '../e2e/replies.ts'
import { createStage, type Stage } from '../e2e/stage.ts'
import { eventually } from '../supervisor/fleet.ts'
import { openGateway, type RestFault, type TestGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { newSystem } from './shared-fleet.ts'

const SECRET = 'a-secret-of-github'
const TOKEN = 'a-token-of-alertmanager'
/** Done by the database, and nobody hears of it. */
const lost: RestFault = async (response, _, commit) => {
  await commit()
  response.destroy()
}

const post = async (stage: Stage, path: string, body: string, headers: Record<string, string>) => {
  const { port } = JSON.parse(readFileSync(join(stage.home, 'daemon.json'), 'utf8')) as { port: number }
  const { status } = await fetch(`http://127.0.0.1:${port}/webhook/${path}`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
    // GitHub and Alertmanager wait for about as long.
    signal: AbortSignal.timeout(10_000),
  })
  return status
}

const openIssue = (stage: Stage, delivery: string) => {
  const body = JSON.stringify({
    action: 'opened',
    repository: { full_name: 'octo/app' },
    sender: { login: 'mallory', type: 'User' },
    issue: {
      number: 5,
      title: 'It breaks',
      body: 'It does.',
      html_url: 'https://github.com/octo/app/issues/5',
      user: { login: 'mallory' },
      author_association: 'NONE',
      labels: [],
    },
  })
  return post(stage, 'github', body, {
    'x-github-event': 'issues',
    'x-github-delivery': delivery,
    'x-hub-signature-256': `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`,
  })
}

const fire = (stage: Stage, fingerprint: string) => {
  const alert = {
    status: 'firing',
    fingerprint,
    startsAt: '2026-11-20T10:00:00Z',
    labels: { alertname: 'DiskFull' },
    annotations: { summary: 'The disk is full' },
  }
  const body = JSON.stringify({ version: '4', groupKey: '{}', alerts: [alert] })
  return post(stage, 'prometheus', body, { authorization: `Bearer ${TOKEN}` })
}

describeOnSupabase('webhooks while Supabase does not answer', (supabase) => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await openGateway(supabase())
  })
  afterAll(async () => gateway[Symbol.asyncDispose]())

  test.each([
    ['at once', false],
    ['while they wait for the queue', true],
  ])(
    'they are accepted, outlive a daemon that dies %s, and are one task each once Supabase answers',
    { timeout: 120_000 },
    async (_, theyWait) => {
      const system = await newSystem(supabase())
      await using stage = await createStage(() => says('[DONE]'), {
        config: `
[supabase]
url = "${gateway.url}"
secret_key = "${supabase().secretKey}"
system = "${system}"
worker = "m1"
[queue]
sweep = "1s"
heartbeat = "1s"
[github]
secret = "${SECRET}"
[[github.rules]]
repository = "octo/*"
event = ["issues"]
project = "work"
approve = "never"
[alertmanager]
token = "${TOKEN}"
[[alertmanager.rules]]
project = "work"
`,
      })
      expect(await stage.ccm(['projects', 'add', stage.work, '--trust'])).toMatchObject({ code: 0 })
      // Nobody starts them: only how they come into the table is looked at.
      await supabase().sql(`UPDATE workers SET draining = true WHERE system_id = $1`, [system])
      const rows = () =>
        supabase().sql<{ key: string; source: string }>(
          `SELECT dedupe_key AS key, source FROM tasks WHERE system_id = $1 ORDER BY 1`,
          [system],
        )
      const inbox = () => stage.json<InboxEntryJson[]>(['inbox', 'list', '--all'])
      const both = [
        { key: 'am:a1:2026-11-20T10:00:00.000Z', source: 'alertmanager' },
        { key: 'gh:first', source: 'github' },
      ]
      const areTasks = async () => (await inbox()).every(({ task_id: id }) => id !== null)

      await gateway.down()
      expect([await openIssue(stage, 'first'), await fire(stage, 'a1')]).toEqual([202, 202])
      if (theyWait) await eventually(areTasks, 20_000)
      await stage.crash()
      expect(await stage.ccm(['start'])).toMatchObject({ code: 0 })
      expect((await inbox()).map(({ key }) => key).toSorted()).toEqual(both.map(({ key }) => key))
      expect([await openIssue(stage, 'first'), await fire(stage, 'a1')]).toEqual([202, 200])
      expect(await rows()).toEqual([])

      // The first answer gets lost, and is asked for again.
      const calls: string[] = []
      gateway.faultOf = (name) => {
        if (!/^task_(?:insert|hand_over)$/.test(name)) return null
        calls.push(name)
        return calls.length === 1 ? lost : null
      }
      await gateway.up()
      await eventually(async () => (await rows()).length === 2 && areTasks(), 60_000)
      expect([await openIssue(stage, 'first'), await fire(stage, 'a1')]).toEqual([202, 200])
      await new Promise((resolve) => setTimeout(resolve, 3000))
      // After 2 s of no answer they wait as tasks, which on a slow machine are over before the crash.
      expect(calls.length).toBe(3)
      expect(calls.every((name) => name === 'task_hand_over') || !theyWait).toBe(true)
      expect(await rows()).toEqual(both)
      const ids = await supabase().sql<{ id: string }>('SELECT id FROM tasks WHERE system_id = $1', [system])
      expect(new Set((await inbox()).map(({ task_id: id }) => id))).toEqual(new Set(ids.map(({ id }) => id)))
    },
  )
})
