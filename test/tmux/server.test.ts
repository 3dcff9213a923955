import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { listPanes } from '../../src/tmux/pane.ts'
import { openTmuxServer } from '../../src/tmux/server.ts'
import { openWindow } from '../../src/tmux/window.ts'
import {
  hasEnded,
  openTestTmux,
  readIfThere,
  testEnvironment,
  until,
  writeProgram,
  type Way,
} from './fixture.ts'

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'ccm-tmux-'))
  try {
    await body(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

test('the folder and its files are for us alone', async () => {
  await using tmux = await openTestTmux()
  expect((await stat(join(tmux.folder, 'tmux'))).mode & 0o777).toBe(0o700)
  expect((await stat(join(tmux.folder, 'tmux/tmux.conf'))).mode & 0o777).toBe(0o600)
})

test('a folder that others may enter is refused with the command that helps', () =>
  withFolder(async (folder) => {
    await mkdir(join(folder, 'tmux'))
    await chmod(join(folder, 'tmux'), 0o755)
    await expect(
      openTmuxServer({ folder: join(folder, 'tmux'), env: testEnvironment(folder) }),
    ).rejects.toMatchObject({ code: 'BAD_CONFIG', remedy: expect.stringContaining('chmod 700') })
  }))

test('a link instead of a folder is refused', () =>
  withFolder(async (folder) => {
    await mkdir(join(folder, 'real'), { mode: 0o700 })
    await symlink(join(folder, 'real'), join(folder, 'tmux'))
    await expect(
      openTmuxServer({ folder: join(folder, 'tmux'), env: testEnvironment(folder) }),
    ).rejects.toMatchObject({ code: 'BAD_CONFIG', message: expect.stringContaining('link') })
  }))

test('a path that is too long for a socket is refused before anything is made', () =>
  withFolder(async (folder) => {
    const long = join(folder, 'x'.repeat(100))
    await expect(openTmuxServer({ folder: long, env: testEnvironment(folder) })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      remedy: expect.stringContaining('CCM_HOME'),
    })
    await expect(stat(long)).rejects.toMatchObject({ code: 'ENOENT' })
  }))

test.each([
  ['tmux 3.1c', 'TMUX_TOO_OLD'],
  ['tmux 2.9a', 'TMUX_TOO_OLD'],
  ['nonsense', 'TMUX_MISSING'],
])('a tmux that says %j is %s', (version, code) =>
  withFolder(async (folder) => {
    const command = await writeProgram(folder, 'old-tmux', `#!/bin/sh\necho '${version}'\n`)
    await expect(
      openTmuxServer({ folder: join(folder, 'tmux'), env: testEnvironment(folder), command }),
    ).rejects.toMatchObject({ code, remedy: expect.stringContaining('3.2') })
  }),
)

test('a tmux that does not say its version ends no server that was there, with agents at work', () =>
  withFolder(async (folder) => {
    const options = { folder: join(folder, 'tmux'), env: testEnvironment(folder) }
    const before = await openTmuxServer(options)
    const script = '#!/bin/sh\n[ "$1" = -V ] && exit 1\nexec tmux "$@"\n'
    const command = await writeProgram(folder, 'odd-tmux', script)
    await expect(openTmuxServer({ ...options, command })).rejects.toMatchObject({ code: 'TMUX_MISSING' })
    const after = await openTmuxServer(options)
    expect(after.identity()).toEqual(before.identity())
    await before.close()
    await after.kill()
    // One that it started itself is not left behind.
    await expect(openTmuxServer({ ...options, command })).rejects.toMatchObject({ code: 'TMUX_MISSING' })
    const { exitCode } = await execa('tmux', ['-N', '-S', join(folder, 'tmux/tmux.sock'), 'list-sessions'], {
      reject: false,
    })
    expect(exitCode).toBe(1)
  }))

test('no tmux in PATH is TMUX_MISSING', () =>
  withFolder(async (folder) => {
    await expect(
      openTmuxServer({ folder: join(folder, 'tmux'), env: { PATH: folder, HOME: folder } }),
    ).rejects.toMatchObject({ code: 'TMUX_MISSING', remedy: expect.stringContaining('Install tmux') })
  }))

test("the user's tmux.conf, TMUX variables and environment do not reach the windows", () =>
  withFolder(async (folder) => {
    await writeFile(join(folder, '.tmux.conf'), `set -g history-limit 7\nrun-shell 'touch ${folder}/ran'\n`)
    const env = {
      ...testEnvironment(folder),
      TMUX: '/tmp/other,1,0',
      TMUX_PANE: '%9',
      TMUX_TMPDIR: folder,
      ODD: 'ö',
    }
    const server = await openTmuxServer({ folder: join(folder, 'tmux'), env })
    try {
      const out = join(folder, 'out')
      await openWindow(server, {
        name: 'a',
        argv: ['/bin/sh', '-c', 'env > "$0.part"; pwd >> "$0.part"; mv "$0.part" "$0"; exec cat', out],
      })
      const lines = (await until(() => readIfThere(out))).trim().split('\n')
      const names = lines.slice(0, -1).map((line) => line.split('=')[0] ?? '')
      expect(
        names
          .filter((name) => !/^(TMUX|TMUX_PANE|TERM|TERM_PROGRAM.*|PWD|OLDPWD|SHLVL|_|SHELL)$/.test(name))
          .sort(),
      ).toEqual(['HOME', 'ODD', 'PATH'])
      expect(lines).toContain('ODD=ö')
      expect(lines).toContain('TMUX_PANE=%1')
      expect(lines.at(-1)).toBe('/')
      expect(await server.run([['show-options', '-gv', 'history-limit']])).toEqual([
        { ok: true, text: '2000' },
      ])
      await expect(stat(join(folder, 'ran'))).rejects.toMatchObject({ code: 'ENOENT' })
    } finally {
      await server.kill()
    }
  }))

test('an attaching terminal brings none of its environment into later windows', async () => {
  await using tmux = await openTestTmux()
  const [shown] = await tmux.server.run([['show-options', '-gv', 'update-environment']])
  expect(shown).toEqual({ ok: true, text: '' })
})

test('a second daemon finds the windows and marks of the first', async () => {
  await using tmux = await openTestTmux()
  const opened = await openWindow(tmux.server, { name: 'a', argv: ['sleep', '100'], marks: { task: 't1' } })
  await tmux.server.close()
  await using again = await openTmuxServer({
    folder: join(tmux.folder, 'tmux'),
    env: testEnvironment(tmux.folder),
  })
  expect(again.identity()).toEqual(tmux.server.identity())
  expect((await listPanes(again))[1]).toMatchObject({ ...opened, marks: { task: 't1' } })
})

test('options of an older ccm are brought up to date on the server that still runs', async () => {
  await using tmux = await openTestTmux()
  await tmux.server.run([['set-option', '-gw', 'remain-on-exit', 'off']])
  await tmux.server.start()
  expect(await tmux.server.run([['show-options', '-gwv', 'remain-on-exit']])).toEqual([
    { ok: true, text: 'on' },
  ])
})

test.each<Way>(['control', 'chain'])(
  'a server that was killed is a clear error, and the next one is another (%s)',
  async (way) => {
    await using tmux = await openTestTmux({ way })
    await openWindow(tmux.server, { name: 'a', argv: ['sleep', '100'] })
    const before = tmux.server.identity()
    process.kill(before.pid, 'SIGKILL')
    await until(async () => {
      const failure = await listPanes(tmux.server).catch((error: unknown) => error)
      return failure instanceof Error && 'code' in failure && failure.code === 'TMUX_FAILED'
    })
    await expect(openWindow(tmux.server, { name: 'a', argv: ['sleep', '1'] })).rejects.toMatchObject({
      code: 'TMUX_FAILED',
    })
    const after = await tmux.server.start()
    expect(after.pid).not.toBe(before.pid)
    expect(after).toEqual(tmux.server.identity())
    expect((await listPanes(tmux.server)).map((pane) => pane.windowName)).toEqual(['ccm'])
  },
)

test.each<Way>(['control', 'chain'])(
  'nothing is sent to a server that somebody else started in place of ours (%s)',
  async (way) => {
    await using tmux = await openTestTmux({ way })
    await listPanes(tmux.server)
    const { pid } = tmux.server.identity()
    process.kill(pid, 'SIGKILL')
    await until(() => hasEnded(pid))
    const args = [
      '-S',
      tmux.server.socketPath,
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      '-s',
      'ccm',
      'sleep',
      '100',
    ]
    await once(spawn('tmux', args, { env: testEnvironment(tmux.folder) }), 'exit')
    await until(async () => {
      const failure = await tmux.server
        .run([['new-window', '-d', 'sleep', '5']])
        .catch((error: unknown) => error)
      return failure instanceof Error && failure.message.startsWith('Another tmux server')
    })
    await tmux.server.start()
    expect(await listPanes(tmux.server)).toHaveLength(1)
  },
)

test('a session that a person closed comes back with the next start', async () => {
  await using tmux = await openTestTmux()
  const { pid } = tmux.server.identity()
  await tmux.server.run([['kill-session', '-t', '=ccm']])
  await tmux.server.start()
  expect(tmux.server.identity().pid).toBe(pid)
  await openWindow(tmux.server, { name: 'a', argv: ['sleep', '100'] })
  expect(await listPanes(tmux.server)).toHaveLength(2)
})
