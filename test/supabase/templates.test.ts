import { createClient } from '@supabase/supabase-js'
import { expect, test } from 'vitest'
import { createTemplates } from '../../src/daemon/templates.ts'
import type { TemplateJson } from '../../src/protocol/template.ts'
import { createStage } from '../e2e/stage.ts'
import { eventually } from '../supervisor/fleet.ts'
import { openGateway } from '../support/gateway.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createSharedFleet, newSystem } from './shared-fleet.ts'

const TEST = { timeout: 120_000 }

/** Rows that the database takes and that no task can be made of, and what is said of each. */
const BAD_ROWS: [columns: Record<string, unknown>, fault: RegExp][] = [
  [{ name: 'odd-type', variables: { a: { type: 'date' } } }, /^The template odd-type: variables\.a\.type /],
  [{ name: 'odd-key', variables: { a: { kind: 'text' } } }, /^The template odd-key: variables\.a\.kind /],
  [{ name: 'odd-name', variables: { 'A B': {} } }, /^The template odd-name: .*must be named with a-z/],
  [{ name: 'no-place', prompt: 'Say {{what}}.' }, /^The template no-place uses \{\{what\}\}/],
  [{ name: 'no-choice', variables: { a: { type: 'choice' } } }, /variable a of the template no-choice/],
  [{ name: 'long-text', description: 'x'.repeat(2000) }, /^The template long-text: description must have/],
]

describeOnSupabase('templates in Supabase', (supabase) => {
  const add = async (system: string, columns: Record<string, unknown>) => {
    const row = { system_id: system, prompt: 'Look.', ...columns }
    const names = Object.keys(row)
    await supabase().sql(
      `INSERT INTO templates (${names.join(', ')}) VALUES (${names.map((_, n) => `$${n + 1}`).join(', ')})`,
      Object.values(row).map((value) =>
        typeof value === 'object' && !Array.isArray(value) ? JSON.stringify(value) : value,
      ),
    )
  }

  test('the database refuses what it can, and tells when a row was changed', TEST, async () => {
    const system = await newSystem(supabase())
    for (const bad of [
      { name: 'Big One' },
      { name: 'x'.repeat(41) },
      { name: 'long', prompt: 'x'.repeat(102_401) },
      { name: 'blank', prompt: ' ' },
      { name: 'mode', permission_mode: 'all' },
      { name: 'list', variables: '[]' },
      { name: 'broken', variables: '{' },
      { name: 'quick', timeout_s: 0 },
    ])
      await expect(add(system, bad)).rejects.toThrow(/violates check|is not valid JSON|invalid input syntax/)
    await add(system, { name: 'good' })
    await supabase().sql(
      `UPDATE templates SET prompt = 'Look again.' WHERE system_id = $1 AND name = 'good'`,
      [system],
    )
    expect(
      await supabase().sql('SELECT updated_at > created_at AS later FROM templates WHERE system_id = $1', [
        system,
      ]),
    ).toEqual([{ later: true }])
  })

  test(
    'a row is a template on every machine, has no more rights than the machine gives, and bad rows are told and break no other',
    TEST,
    async () => {
      const system = await newSystem(supabase())
      const other = await newSystem(supabase())
      await add(other, { name: 'foreign' })
      await add(system, {
        name: 'good',
        description: 'Looks at a branch',
        prompt: 'Look at {{branch}}, {{depth}}.',
        variables: { branch: {}, depth: { type: 'choice', choices: ['quick', 'deep'], default: 'quick' } },
        permission_mode: 'bypassPermissions',
        allowed_tools: ['Bash', 'Read(src/**)'],
        timeout_s: 60,
        max_tokens: 5_000_000_000,
        max_cost_usd: 0.5,
      })
      for (const [columns] of BAD_ROWS) await add(system, columns)
      for (const worker of ['m1', 'm2']) {
        await using fleet = await createSharedFleet(supabase(), { url: supabase().url, system, worker })
        const daemon = await fleet.start()
        const shared = (await daemon.chosen.templates?.()) ?? []
        expect(shared).toMatchObject([
          {
            name: 'good',
            variables: {
              branch: { type: 'text', required: true, default: null },
              depth: { type: 'choice', default: 'quick' },
            },
            timeoutS: 60,
            maxTokens: 5_000_000_000,
            maxCostUsd: 0.5,
            restricted: false,
          },
        ])
        const { readAt, usable, faults } = daemon.chosen.state()?.templates ?? {}
        expect([usable, faults?.length]).toEqual([1, BAD_ROWS.length])
        expect(readAt).toBeGreaterThan(Date.now() - 60_000)
        for (const [{ name }, said] of BAD_ROWS)
          expect(faults?.find((fault) => fault.includes(String(name)))).toMatch(said)
        const templates = createTemplates({
          config: { templates: [], outside: { permissionMode: 'dontAsk', allowedTools: [] } },
          stored: { list: () => [], add: () => true, put: () => undefined, remove: () => false },
          shared: daemon.chosen.templates,
          projects: fleet.deps.projects,
          limitOf: () => ({ permissionMode: 'acceptEdits', allowedTools: ['Read(src/**)'], inPlace: false }),
        })
        const [good] = await templates.list()
        if (good === undefined) throw new Error('no template')
        expect(templates.within(good, { name: 'work', dir: null }, 'api')).toMatchObject({
          permissionMode: 'acceptEdits',
          allowedTools: ['Read(src/**)'],
        })
        await daemon.close()
      }
    },
  )

  test(
    'what was read last counts while Supabase is away, also for a daemon that starts then; another system has none of it',
    TEST,
    async () => {
      await using gateway = await openGateway(supabase())
      const system = await newSystem(supabase())
      await add(system, { name: 'kept' })
      await using fleet = await createSharedFleet(supabase(), { url: gateway.url, system, worker: 'm1' })
      const first = await fleet.start()
      const namesOf = async ({ chosen }: typeof first) =>
        (await chosen.templates?.())?.map(({ name }) => name)
      expect(await namesOf(first)).toEqual(['kept'])
      await gateway.down()
      await eventually(() => first.chosen.supabase() === 'down', 20_000)
      expect(await namesOf(first)).toEqual(['kept'])
      await first.close()
      const second = await fleet.start()
      expect(await namesOf(second)).toEqual(['kept'])
      await second.close()
    },
  )

  test('only whoever holds the secret key writes them', TEST, async () => {
    const system = await newSystem(supabase())
    const { url, secretKey, publishableKey } = supabase()
    const auth = { persistSession: false, autoRefreshToken: false }
    const row = { system_id: system, name: 'mine', prompt: 'Look.' }
    const anon = createClient(url, publishableKey, { auth })
    expect((await anon.from('templates').insert(row)).error).toMatchObject({ code: '42501' })
    expect((await createClient(url, secretKey, { auth }).from('templates').insert(row)).error).toBeNull()
    expect((await anon.from('templates').update({ prompt: 'x' }).eq('name', 'mine')).error).not.toBeNull()
  })

  test(
    'ccm templates, ccm run --template and ccm doctor over a daemon, also in an outage that it is started in',
    { timeout: 240_000 },
    async () => {
      await using gateway = await openGateway(supabase())
      const system = await newSystem(supabase())
      await add(system, { name: 'look', prompt: 'Look at {{what}}.', variables: { what: {} } })
      await add(system, { name: 'odd', prompt: 'Say {{what}}.' })
      const config = [
        '[supabase]',
        `url = "${gateway.url}"`,
        `secret_key = "${supabase().secretKey}"`,
        `system = "${system}"`,
        '[templates.own]',
        'prompt = "Own."',
      ].join('\n')
      await using stage = await createStage(() => ({ kind: 'drop' }), { config })
      expect(await stage.ccm(['projects', 'add', stage.work, '--trust'])).toMatchObject({ code: 0 })
      const listed = await stage.ccm(['templates'])
      expect(listed.stdout).toMatch(/^look +supabase +what /m)
      expect(listed.stdout).toMatch(/^own +file /m)
      expect(listed.stdout).toMatch(/Not usable in Supabase\n +The template odd uses \{\{what\}\}/)
      expect((await stage.ccm(['doctor'])).stdout).toMatch(
        /note +supabase templates 1 of 2 cannot be used: The template odd/,
      )
      const run = (label: string) =>
        stage.ccm(
          `run --template look --var what=it --project work --label ${label} --no-wait --json`.split(' '),
        )
      const there = await run('nobody')
      expect(there).toMatchObject({ code: 0 })
      expect(JSON.parse(there.stdout)).toMatchObject({ prompt: 'Look at it.' })
      await stage.ccm(['stop'])
      await gateway.down()
      await stage.ccm(['start'])
      const kept = JSON.parse((await stage.ccm(['templates', '--json'])).stdout) as TemplateJson[]
      expect(kept.map(({ name, stored_in }) => [name, stored_in])).toEqual([
        ['look', 'supabase'],
        ['own', 'file'],
      ])
      expect((await stage.ccm(['templates'])).stdout).toMatch(/Supabase does not answer: its templates are/)
      const held = await run('nobody-2')
      expect(JSON.parse(held.stdout)).toMatchObject({ prompt: 'Look at it.', status: 'queued' })
    },
  )
})
