import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import {
  installService,
  isInstalledFor,
  serviceStates,
  uninstallService,
  verifyUnits,
  type ServiceManager,
} from './manage.ts'
import { isUntouched, launchdAgent, PLIST, systemdUnits, UNITS, type ServicePlace } from './units.ts'

const place = (more: Partial<ServicePlace> = {}): ServicePlace => ({
  packageFolder: resolve(import.meta.dirname, '../..'),
  node: process.execPath,
  ccm: '/opt/c c/bin/ccm.js',
  home: '/home/u/.local/state/ccm',
  user: null,
  environment: { CCM_HOME: '/home/u/.local/state/ccm', PATH: '/usr/bin:/bin' },
  ...more,
})

const HAS_ANALYZE = await execa('systemd-analyze', ['--version']).then(
  () => true,
  () => false,
)
// It is printed because a skipped test is easily overlooked.
if (!HAS_ANALYZE) process.stderr.write('SKIPPED: systemd-analyze is missing; units are not verified\n')

/** A manager that only remembers what it was told. */
function recorded() {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-service-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const calls: string[] = []
  const on: ServiceManager = {
    manager: 'user',
    folder,
    call: async (...args) => {
      calls.push(args.join(' '))
      return { ok: true, said: 'active' }
    },
  }
  return { folder, calls, on }
}

test.runIf(HAS_ANALYZE).each([
  ['user', null],
  ['system', 'root'],
  ['system', 'daemon'],
] as const)('units of a %s service for %s are without fault', async (manager, user) => {
  const units = systemdUnits(place({ user }))
  await verifyUnits(units, manager)
  const [tmux, daemon] = units.map(({ text }) => text)
  expect(daemon).toContain(user === null ? 'WantedBy=default.target' : `User=${user}\n`)
  // Agents keep their sandboxes, and Node its compiler.
  expect(tmux).not.toMatch(
    /^(PrivateTmp|RestrictNamespaces|MemoryDenyWriteExecute|NoNewPrivileges|Protect\w+)=/m,
  )
  expect(daemon).not.toMatch(/^(PrivateTmp|MemoryDenyWriteExecute|ProtectHome)=/m)
})

test.runIf(HAS_ANALYZE)('a key that systemd does not know is a fault, though it exits with 0', async () => {
  const [tmux, daemon] = systemdUnits(place())
  const wrong = {
    name: 'ccm.service',
    text: (daemon?.text ?? '').replace('[Service]', '[Service]\nMemoryMaxx=1G'),
  }
  await expect(verifyUnits([tmux ?? wrong, wrong], 'user')).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringContaining('MemoryMaxx'),
  })
})

test('odd paths and values stand in a unit as themselves; a line break is refused', () => {
  const odd = '/home/ü 100%h "q" \\ $HOME'
  const [, daemon] = systemdUnits(place({ ccm: odd, environment: { CCM_HOME: odd } }))
  expect(daemon?.text).toContain('"/home/ü 100%%h \\"q\\" \\\\ $$HOME" daemon --background')
  expect(daemon?.text).toContain('Environment="CCM_HOME=/home/ü 100%%h \\"q\\" \\\\ $HOME"')
  expect(() => systemdUnits(place({ home: '/a\nExecStart=/bin/evil' }))).toThrow(
    'cannot stand in a service file',
  )
})

test('a file is known as ours until somebody edits it', () => {
  for (const { text } of [...systemdUnits(place()), launchdAgent(place())]) {
    expect(isUntouched(text)).toBe(true)
    expect(isUntouched(`${text}\n`)).toBe(false)
    expect(isUntouched(text.replace('daemon', 'demon').replace('tmux', 'tmix'))).toBe(false)
    expect(isUntouched(text.replace(/[0-9a-f]{16}/, '0123456789abcdef'))).toBe(false)
  }
})

test('install writes and starts, keeps what was edited, and uninstall leaves nothing else', async () => {
  const { folder, calls, on } = recorded()
  const units = systemdUnits(place())
  if (!HAS_ANALYZE) return
  await installService(on, units)
  expect(calls).toEqual([
    'daemon-reload',
    'enable ccm-tmux.service ccm.service',
    'start ccm-tmux.service',
    'restart ccm.service',
  ])
  expect(isInstalledFor(on, '/home/u/.local/state/ccm')).toBe(true)
  expect(isInstalledFor(on, '/home/u/.local/state')).toBe(false)
  const file = join(folder, 'ccm.service')
  writeFileSync(file, readFileSync(file, 'utf8').replace('WatchdogSec=60', 'WatchdogSec=600'))
  expect((await serviceStates(on, UNITS)).map(({ edited }) => edited)).toEqual([false, true])
  expect(await installService(on, units)).toContain(`${file} had been edited: it is kept as ${file}.kept.`)
  expect(readFileSync(`${file}.kept`, 'utf8')).toContain('WatchdogSec=600')
  expect(readFileSync(file, 'utf8')).toBe(units[1]?.text)
  writeFileSync(file, 'mine')
  expect(await uninstallService(on, UNITS)).toContain(
    `${file} had been edited: it is kept as ${file}.kept-2.`,
  )
  expect((await serviceStates(on, UNITS)).map(({ installed }) => installed)).toEqual([false, false])
  expect(await uninstallService(on, UNITS)).toEqual(['No service was installed.'])
})

test('the launchd agent is well-formed, restarts what died, and leaves the agents of the daemon alone', async () => {
  const { name, text } = launchdAgent(
    place({ home: '/Users/a & b <c>', environment: { CCM_HOME: '/Users/a & b <c>' } }),
  )
  expect(name).toBe(PLIST)
  // The parser of Python's own plist reader is as strict as Apple's about the XML.
  const { stdout } = await execa(
    'python3',
    ['-c', 'import json,plistlib,sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))'],
    { input: text },
  )
  expect(JSON.parse(stdout)).toEqual({
    Label: 'ccm.daemon',
    ProgramArguments: [
      process.execPath,
      '--max-semi-space-size=2',
      '/opt/c c/bin/ccm.js',
      'daemon',
      '--background',
    ],
    EnvironmentVariables: { CCM_HOME: '/Users/a & b <c>', CCM_SERVICE: 'launchd' },
    WorkingDirectory: '/Users/a & b <c>',
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    AbandonProcessGroup: true,
    StandardOutPath: '/Users/a & b <c>/daemon.log',
    StandardErrorPath: '/Users/a & b <c>/daemon.log',
  })
})
