import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest'
import type { StatusJson } from '../../src/protocol/daemon.ts'
import type { TaskJson } from '../../src/protocol/task.ts'
import { eventually } from './fixture.ts'
import { bootMachine, whyNoMachine, type Machine, MACHINE_NODE } from './machine/machine.ts'

// A real systemd as first process. The agent is a script (machine/claude): what is tested here is who lives and dies.
const why = whyNoMachine()
if (why !== null) console.warn(`SKIPPED: the tests with a real systemd: ${why}`)

const UNIT = '/etc/systemd/system/ccm.service'
const UNITS = ['ccm-tmux.service', 'ccm.service']
const ENV = { CCM_HOME: '/var/lib/ccm', CCM_CONFIG: '/srv/shared/ccm.toml', USER: 'root' }

describe.skipIf(why !== null)('ccm as a service of a real systemd', () => {
  let machine: Machine
  beforeAll(async () => {
    machine = await bootMachine()
    for (const folder of ['user', 'work']) mkdirSync(join(machine.shared, folder))
    copyFileSync(join(import.meta.dirname, 'machine/claude'), join(machine.shared, 'claude'))
    writeFileSync(
      join(machine.shared, 'ccm.toml'),
      [
        '[http]\nport = 0\n[claude]\ncommand = "/srv/shared/claude"\n[claude.env]\nANTHROPIC_API_KEY = "sk-ant-dummy"',
        '[timeouts]\nstart = "10m"\nexit = "1s"\n[watchdog]\nevent_loop = "3s"',
        '[scope]\nmemory_high = "60M"\nmemory_max = "64M"\ntasks_max = 50\n[agents]\nmin_free_memory_mb = 0',
      ].join('\n'),
    )
  }, 60_000)
  afterAll(async () => machine?.[Symbol.asyncDispose]())

  const ccm = (...args: string[]) => machine.run([MACHINE_NODE, '/srv/ccm/bin/ccm.js', ...args], ENV)
  const json = async <T>(...args: string[]): Promise<T> => {
    const { stdout, stderr } = await ccm(...args, '--json')
    if (stdout === '') throw new Error(`ccm ${args.join(' ')}: ${stderr}`)
    return JSON.parse(stdout) as T
  }
  const said = async (...argv: string[]) => (await machine.run(argv)).stdout
  const show = (property: string, unit = 'ccm.service') =>
    said('systemctl', 'show', '--value', '-p', property, unit)
  // Never 0, which a unit has that does not run: as the target of a signal it is one's own process group.
  const mainPid = () => eventually('the unit runs', async () => Number(await show('MainPID')) || null)
  const status = async () => {
    const { stdout } = await ccm('status', '--json')
    return stdout === '' ? null : (JSON.parse(stdout) as StatusJson)
  }
  const sleepers = () => said('pgrep', '-f', '^sleep 500')
  const journal = () => said('journalctl', '-u', 'ccm.service', '--no-pager', '-o', 'cat')
  /** Whatever an earlier test, or an earlier try, left at work ends first: its directory takes one agent at a time. */
  const give = async (prompt: string) => {
    for (const { id, status: now } of await json<TaskJson[]>('tasks'))
      if (now === 'queued' || now === 'running') await ccm('cancel', id)
    await eventually('nobody works', async () => (await status())?.agents === 0)
    rmSync(join(machine.shared, 'agent'), { force: true })
    return json<TaskJson>('run', '--no-wait', '--trust', '--dir', '/srv/shared/work', prompt)
  }
  const agentPid = () =>
    eventually(
      'the agent runs',
      () =>
        (existsSync(join(machine.shared, 'agent')) &&
          readFileSync(join(machine.shared, 'agent'), 'utf8').trim()) ||
        null,
    )

  test('install writes, verifies, enables and starts; status and systemd agree', async () => {
    const before = await ccm('service', 'status')
    expect(before.stdout).toMatch(/ccm\.service: not installed/)
    const installed = await ccm('service', 'install')
    expect(installed).toMatchObject({ code: 0, stderr: '' })
    for (const unit of UNITS) {
      expect(await said('systemctl', 'is-active', unit)).toBe('active')
      expect(await said('systemctl', 'is-enabled', unit)).toBe('enabled')
    }
    expect(
      await machine.run([
        'systemd-analyze',
        '--man=no',
        'verify',
        ...UNITS.map((unit) => `/etc/systemd/system/${unit}`),
      ]),
    ).toEqual({ code: 0, stdout: '', stderr: '' })
    const now = await json<StatusJson>('status')
    expect(now).toMatchObject({ kept_by: 'systemd', pid: await mainPid(), home: '/var/lib/ccm', tmux: 'ok' })
    expect(await show('StatusText')).toContain(`serves http://127.0.0.1:${now.port}`)
    // The tmux server is not the daemon's.
    expect(await show('ControlGroup', 'ccm-tmux.service')).toContain('/ccm-tmux.service')
    expect(await show('MainPID', 'ccm-tmux.service')).not.toBe('0')
    expect((await ccm('service', 'status')).code).toBe(0)
    // Once more is no harm, and no new daemon start takes the tmux server along.
    const tmux = await show('MainPID', 'ccm-tmux.service')
    expect((await ccm('service', 'install')).stdout).toContain('is as it should be')
    expect(await show('MainPID', 'ccm-tmux.service')).toBe(tmux)
  })

  test('an agent has a scope with its limits, and lives through kill -9, a restart, an upgrade and a hang of its daemon', async () => {
    onTestFailed(async () => console.log(await journal()))
    const { id } = await give('Task wait')
    const agent = await agentPid()
    const scope = `ccm-agent-${id}-1.scope`
    expect(await said('cat', `/proc/${agent}/cgroup`)).toContain(`/${scope}`)
    expect(await show('MemoryMax', scope)).toBe(String(64 * 1024 * 1024))
    expect(await show('MemoryHigh', scope)).toBe(String(60 * 1024 * 1024))
    expect(await show('TasksMax', scope)).toBe('50')
    const isAdopted = async (by: string, from: number) => {
      const found = await eventually(`${by}: another daemon serves`, async () => {
        const now = await status()
        return now !== null && now.pid !== from && now.agents === 1 && now
      })
      expect({ by, agent: await said('ps', '-o', 'args=', '-p', agent) }).toEqual({
        by,
        agent: expect.stringContaining('/srv/shared/claude'),
      })
      expect((await json<TaskJson>('show', id)).attempt).toBe(1)
      return found
    }
    let pid = await mainPid()
    await machine.run(['systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', 'ccm.service'])
    pid = (await isAdopted('kill -9', pid)).pid
    await machine.run(['systemctl', 'restart', 'ccm.service'])
    pid = (await isAdopted('systemctl restart', pid)).pid
    expect((await ccm('restart')).code).toBe(0)
    pid = (await isAdopted('ccm restart', pid)).pid
    // That the end comes within a second of the limit is held by hang.test.ts.
    await machine.run([MACHINE_NODE, '/srv/ccm/test/faults/machine/block.mjs', String(pid)])
    const found = await isAdopted('a blocked event loop', pid)
    expect(found.found_at_start.join('\n')).toContain('hung and was ended')
    expect(await journal()).toContain('the daemon hangs and is ended')
    expect((await ccm('incidents')).stdout).toContain('daemon_hung')
  })

  test('cancel leaves nothing of the agent, also what left its session, its parent and its environment', async () => {
    const { id } = await give('Task wait')
    await agentPid()
    await eventually('all of it runs', async () => (await sleepers()).split('\n').length >= 4)
    expect((await ccm('cancel', id)).code).toBe(0)
    await eventually('nothing of it is left', async () => (await sleepers()) === '', 10_000)
    await eventually(
      'its scope is gone',
      async () => (await show('ActiveState', `ccm-agent-${id}-1.scope`)) === 'inactive',
    )
    expect((await json<TaskJson>('show', id)).status).toBe('cancelled')
  })

  test('an agent that takes all its memory is ended by the kernel, and the task says so', async () => {
    const { id } = await give('Task eat')
    const task = await eventually('it has failed once', async () => {
      const now = await json<TaskJson>('show', id)
      return now.attempt >= 2 || now.status !== 'running' ? now : null
    })
    await ccm('cancel', id)
    expect(task.state_reason).toContain('memory of its scope')
    expect(await show('ActiveState')).toBe('active')
  })

  test('a daemon that is stopped is ended by systemd, because no WATCHDOG comes', async () => {
    mkdirSync(join(machine.shared, 'drop'), { recursive: true })
    writeFileSync(join(machine.shared, 'drop/test.conf'), '[Service]\nWatchdogSec=4\n')
    await machine.run(['cp', '-r', '-T', '/srv/shared/drop', `${UNIT}.d`])
    await machine.run(['systemctl', 'daemon-reload'])
    await machine.run(['systemctl', 'restart', 'ccm.service'])
    const pid = await mainPid()
    // A healthy one beats.
    await sleep(6000)
    expect(await mainPid()).toBe(pid)
    await machine.run(['kill', '-STOP', String(pid)])
    await eventually('another daemon serves', async () => ((await status())?.pid ?? pid) !== pid, 15_000)
    expect(await journal()).toContain('Watchdog timeout')
    await machine.run(['rm', '-r', `${UNIT}.d`])
    await machine.run(['systemctl', 'daemon-reload'])
  })

  test('HUP reloads through systemctl', async () => {
    const toml = readFileSync(join(machine.shared, 'ccm.toml'), 'utf8')
    if (!toml.includes('max_concurrent'))
      writeFileSync(join(machine.shared, 'ccm.toml'), `${toml}\nmax_concurrent = 3\n`)
    expect((await machine.run(['systemctl', 'reload', 'ccm.service'])).code).toBe(0)
    await eventually('it is taken over', async () => (await status())?.max_concurrent === 3)
  })

  test('tmux killed by -9 comes back in its own unit, not in the daemon', async () => {
    const before = await show('MainPID', 'ccm-tmux.service')
    await machine.run(['kill', '-KILL', before])
    await eventually(
      'the unit runs again',
      async () => !['0', before].includes(await show('MainPID', 'ccm-tmux.service')),
    )
    await eventually('the daemon uses it', async () => (await status())?.tmux === 'ok')
    await give('Task wait')
    expect(await said('cat', `/proc/${await agentPid()}/cgroup`)).toMatch(/ccm-agent-\w+-1\.scope/)
  })

  test('stop stays stopped, and start goes through systemd', async () => {
    expect((await ccm('stop')).code).toBe(0)
    await eventually('the unit is inactive', async () => (await show('ActiveState')) === 'inactive')
    await sleep(1500)
    expect(await show('ActiveState')).toBe('inactive')
    expect((await ccm('start')).stdout).toMatch(/^The daemon is up: pid \d+/)
    expect(await json<StatusJson>('status')).toMatchObject({
      kept_by: 'systemd',
      pid: await mainPid(),
      tmux: 'ok',
    })
  })

  test('an edited unit is kept beside the new one; uninstall leaves nothing else', async () => {
    await machine.run(['sh', '-c', `echo '# mine' >>${UNIT}`])
    expect((await ccm('service', 'status')).stdout).toContain('edited')
    const again = await ccm('service', 'install')
    expect(again.stdout).toContain(`${UNIT} had been edited: it is kept as ${UNIT}.kept`)
    expect(await said('tail', '-n', '1', `${UNIT}.kept`)).toBe('# mine')
    await machine.run(['rm', `${UNIT}.kept`])
    await give('Task wait')
    await agentPid()
    const gone = await ccm('service', 'uninstall')
    expect(gone).toMatchObject({ code: 0, stderr: '' })
    expect(await said('sh', '-c', 'find /etc/systemd /run/systemd/system -name "*ccm*"')).toBe('')
    expect(await said('systemctl', 'list-units', '--all', '--no-legend', 'ccm*')).toBe('')
    expect(await said('pgrep', '-f', 'ccm.js|tmux|^sleep 500')).toBe('')
  })

  test('units for odd places are without fault', async () => {
    for (const home of [
      '/var/lib/with space',
      '/var/lib/percent%h',
      '/var/lib/dollar$HOME',
      '/var/lib/quote"\\',
      '/var/lib/ünï',
    ]) {
      const { stdout } = await machine.run(
        [MACHINE_NODE, '/srv/ccm/bin/ccm.js', 'service', 'install', '--print', '--json'],
        { ...ENV, CCM_HOME: home },
      )
      const folder = join(machine.shared, 'units')
      mkdirSync(folder, { recursive: true })
      for (const { name, text } of JSON.parse(stdout) as { name: string; text: string }[])
        writeFileSync(join(folder, name), text)
      const files = readdirSync(folder).map((name) => `/srv/shared/units/${name}`)
      expect({ home, ...(await machine.run(['systemd-analyze', '--man=no', 'verify', ...files])) }).toEqual({
        home,
        code: 0,
        stdout: '',
        stderr: '',
      })
    }
  })
})
