import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { StatusJson } from '../../src/protocol/daemon.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { eventually } from './fixture.ts'
import { bootMachine, whyNoMachine, MACHINE_NODE } from './machine/machine.ts'

const why = whyNoMachine()
if (why !== null) console.warn(`SKIPPED: the test with a user's systemd: ${why}`)

/** A user that every Debian has and nobody logs in as. */
const USER = { name: 'games', uid: 5, gid: 60 }

test.skipIf(why !== null)(
  'a service of a user: agents live through kill -9 of the daemon; cancel leaves nothing',
  async () => {
    await using machine = await bootMachine()
    for (const folder of ['', 'user', 'work']) {
      mkdirSync(join(machine.shared, folder), { recursive: true })
      chownSync(join(machine.shared, folder), USER.uid, USER.gid)
    }
    chmodSync(machine.shared, 0o755)
    copyFileSync(join(import.meta.dirname, 'machine/claude'), join(machine.shared, 'claude'))
    const toml = [
      '[http]\nport = 0\n[claude]\ncommand = "/srv/shared/claude"',
      '[claude.env]\nANTHROPIC_API_KEY = "dummy"',
      '[timeouts]\nstart = "10m"\nexit = "1s"\n[agents]\nmin_free_memory_mb = 0',
    ]
    writeFileSync(join(machine.shared, 'ccm.toml'), toml.join('\n'))
    await machine.run(['usermod', '-d', '/srv/shared/user', USER.name])
    expect(await machine.run(['systemctl', 'start', `user@${USER.uid}.service`])).toMatchObject({ code: 0 })
    const own = {
      HOME: '/srv/shared/user',
      USER: USER.name,
      XDG_RUNTIME_DIR: `/run/user/${USER.uid}`,
      CCM_HOME: '/srv/shared/user/ccm',
      CCM_CONFIG: '/srv/shared/ccm.toml',
    }
    const as = (...argv: string[]) =>
      machine.run(
        ['setpriv', `--reuid=${USER.uid}`, `--regid=${USER.gid}`, '--clear-groups', '--', ...argv],
        own,
      )
    const ccm = (...args: string[]) => as(MACHINE_NODE, '/srv/ccm/bin/ccm.js', ...args)
    const json = async <T>(...args: string[]): Promise<T> => {
      const { stdout, stderr } = await ccm(...args, '--json')
      if (stdout === '') throw new Error(`ccm ${args.join(' ')}: ${stderr}`)
      return JSON.parse(stdout) as T
    }
    const installed = await ccm('service', 'install')
    expect(installed).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining('loginctl enable-linger'),
    })
    const before = await json<StatusJson>('status')
    expect(before).toMatchObject({ kept_by: 'systemd', tmux: 'ok' })
    const { id } = await json<TaskJson>(
      'run',
      '--no-wait',
      '--trust',
      '--dir',
      '/srv/shared/work',
      'Task wait',
    )
    const note = join(machine.shared, 'agent')
    const agent = await eventually(
      'the agent runs',
      () => (existsSync(note) && readFileSync(note, 'utf8').trim()) || null,
    )
    expect((await as('cat', `/proc/${agent}/cgroup`)).stdout).toContain(`/ccm-agent-${id}-1.scope`)
    await as('kill', '-KILL', String(before.pid))
    const after = await eventually('another daemon has it', async () => {
      const { stdout } = await ccm('status', '--json')
      const now = stdout === '' ? null : (JSON.parse(stdout) as StatusJson)
      return now !== null && now.pid !== before.pid && now.agents === 1 && now
    })
    expect(after.found_at_start.join()).toContain('still at work')
    expect((await as('cat', `/proc/${agent}/cgroup`)).code).toBe(0)
    expect((await ccm('cancel', id)).code).toBe(0)
    await eventually(
      'nothing of it is left',
      async () => (await as('pgrep', '-f', '^sleep 500')).stdout === '',
    )
    expect((await ccm('service', 'uninstall')).code).toBe(0)
    expect(
      (await as('sh', '-c', 'find "$HOME/.config" -name "*ccm*"; pgrep -fa "ccm[.]js|[t]mux"')).stdout,
    ).toBe('')
  },
)
