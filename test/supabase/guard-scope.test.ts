import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { StatusJson } from '../../src/protocol/daemon.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { eventually } from '../faults/fixture.ts'
import { bootMachine, whyNoMachine, MACHINE_NODE } from '../faults/machine/machine.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'

const MACHINE = resolve(import.meta.dirname, '../faults/machine')
const INSIDE = '/srv/ccm/test/faults/machine'
const PORT = '8000'
const ENV = { CCM_HOME: '/var/lib/ccm', CCM_CONFIG: '/srv/shared/ccm.toml', USER: 'root' }

const why = whyNoMachine()

describe.skipIf(why !== null)(`where systemd runs${why === null ? '' : ` [${why}]`}`, () => {
  describeOnSupabase('the guard of an agent in a scope', (supabase) => {
    test(
      'a daemon that is stopped loses its agent with all that left its session, parent and environment',
      { timeout: 180_000 },
      async () => {
        await supabase().sql('INSERT INTO systems (id) VALUES ($1)', ['scoped'])
        await using machine = await bootMachine()
        for (const folder of ['user', 'work']) mkdirSync(join(machine.shared, folder))
        copyFileSync(join(MACHINE, 'claude'), join(machine.shared, 'claude'))
        writeFileSync(
          join(machine.shared, 'ccm.toml'),
          [
            '[http]\nport = 0\n[claude]\ncommand = "/srv/shared/claude"',
            '[claude.env]\nANTHROPIC_API_KEY = "sk-ant-dummy"',
            '[timeouts]\nstart = "10m"\nexit = "1s"\n[agents]\nmin_free_memory_mb = 0',
            `[supabase]\nurl = "http://127.0.0.1:${PORT}"\nsecret_key = "${supabase().secretKey}"`,
            'system = "scoped"\nworker = "one"\n[queue]\nlease = "8s"\nheartbeat = "2s"\nsweep = "1s"',
          ].join('\n'),
        )
        // Two relays: to the file on this side, from it on the other.
        const file = join(machine.shared, 'supabase.sock')
        const relay = spawn(process.execPath, [
          join(MACHINE, 'relay.mjs'),
          file,
          new URL(supabase().url).port,
        ])
        try {
          await eventually('the relay listens', () => existsSync(file))
          const other = [MACHINE_NODE, `${INSIDE}/relay.mjs`, PORT, '/srv/shared/supabase.sock']
          expect(await machine.run(['systemd-run', '--quiet', ...other])).toMatchObject({
            code: 0,
            stderr: '',
          })
          const said = async (...argv: string[]) => (await machine.run(argv)).stdout
          const ccm = (...args: string[]) => machine.run([MACHINE_NODE, '/srv/ccm/bin/ccm.js', ...args], ENV)
          expect(await ccm('service', 'install')).toMatchObject({ code: 0, stderr: '' })
          const { pid } = JSON.parse((await ccm('status', '--json')).stdout) as StatusJson
          const given = await ccm(
            'run',
            '--no-wait',
            '--trust',
            '--dir',
            '/srv/shared/work',
            '--json',
            'Task wait',
          )
          expect(given).toMatchObject({ code: 0 })
          const { id } = JSON.parse(given.stdout) as TaskJson
          const note = join(machine.shared, 'agent')
          const agent = await eventually(
            'the agent runs',
            () => (existsSync(note) && readFileSync(note, 'utf8').trim()) || null,
          )
          const scope = `ccm-agent-${id}-1.scope`
          expect(await said('cat', `/proc/${agent}/cgroup`)).toContain(`/${scope}`)
          const sleepers = () => said('pgrep', '-f', '^sleep 500')
          const all = () => sleepers().then((text) => text.split('\n').filter(Boolean).length)
          await eventually('all of it runs', async () => (await all()) === 4)
          // Twice the lease: heartbeats move the deadline.
          await sleep(16_000)
          expect(await all()).toBe(4)
          await machine.run(['kill', '-STOP', String(pid)])
          await eventually('the guard has acted', async () => (await sleepers()) === '', 20_000)
          expect((await machine.run(['test', '-e', `/var/lib/ccm/attempts/${id}.1/fenced`])).code).toBe(0)
          // What nobody is in any more, systemd removes.
          await eventually('its scope is gone', async () => {
            const state = await said('systemctl', 'show', '--value', '-p', 'ActiveState', scope)
            return state === 'inactive'
          })
          await machine.run(['kill', '-CONT', String(pid)])
          await eventually(
            'the task goes on',
            async () => {
              const { stdout } = await ccm('show', id, '--json')
              return stdout !== '' && (JSON.parse(stdout) as TaskJson).attempt === 2 && (await all()) === 4
            },
            60_000,
          )
          expect(await said('pgrep', '-c', '-x', 'claude')).toBe('1')
        } finally {
          relay.kill()
        }
      },
    )
  })
})
