import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createServiceNotifier, keeperOf } from './notify.ts'

/** A program in systemd-notify's place that writes down what it was told. */
function recorder() {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-notify-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'systemd-notify')
  writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >>'${folder}/said'\n`)
  chmodSync(program, 0o755)
  const said = () =>
    existsSync(join(folder, 'said')) ? readFileSync(join(folder, 'said'), 'utf8').trim().split('\n') : []
  return { program, said }
}

const ENV = { PATH: process.env['PATH'], NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '300000', WATCHDOG_PID: '7' }

test('systemd hears READY with a status of one line, and STOPPING', async () => {
  const { program, said } = recorder()
  const notifier = createServiceNotifier(ENV, 7, program)
  await notifier.ready('serves\nhere')
  await notifier.stopping()
  expect(said()).toEqual([
    '/run/n --no-block MAINPID=7 READY=1 STATUS=serves here',
    '/run/n --no-block MAINPID=7 STOPPING=1 STATUS=ending',
  ])
})

test('WATCHDOG is sent only while the daemon is well; else its trouble is the status', async () => {
  const { program, said } = recorder()
  let trouble: string | null = 'the sweep stands still'
  const stop = createServiceNotifier(ENV, 7, program).watch(async () => trouble)
  await expect.poll(() => said().length).toBeGreaterThan(1)
  expect(said().every((line) => line.endsWith('STATUS=the sweep stands still'))).toBe(true)
  trouble = null
  await expect.poll(() => said().some((line) => line.endsWith('WATCHDOG=1 STATUS=well again'))).toBe(true)
  await expect.poll(() => said().at(-1)).toMatch(/WATCHDOG=1$/)
  stop()
})

test('a check that fails is no WATCHDOG', async () => {
  const { program, said } = recorder()
  const stop = createServiceNotifier(ENV, 7, program).watch(async () =>
    Promise.reject(new Error('disk full')),
  )
  await expect.poll(() => said()[0]).toMatch(/STATUS=Error: disk full$/)
  stop()
  expect(said().join()).not.toContain('WATCHDOG')
})

test.each([
  ['without systemd', {}],
  ["with another process's variables", { ...ENV, WATCHDOG_PID: '8' }],
])('%s nothing beats', async (_, env) => {
  const { program, said } = recorder()
  let asked = false
  createServiceNotifier(env, 7, program).watch(async () => {
    asked = true
    return null
  })()
  expect(asked).toBe(false)
  expect(said()).toEqual([])
})

test('who keeps this process is known by what only its keeper sets', () => {
  const own = { pid: 10, ppid: 9 }
  expect(keeperOf({ SYSTEMD_EXEC_PID: '10' }, own)).toBe('systemd')
  // Inherited by a daemon that was started from a shell inside a service.
  expect(keeperOf({ SYSTEMD_EXEC_PID: '3' }, own)).toBeNull()
  expect(keeperOf({ CCM_KEEPER_PID: '9' }, own)).toBe('shell')
  expect(keeperOf({ CCM_KEEPER_PID: '4' }, own)).toBeNull()
  expect(keeperOf({ XPC_SERVICE_NAME: 'ccm.daemon' }, own)).toBe('launchd')
})
