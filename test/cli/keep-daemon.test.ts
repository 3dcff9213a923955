import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'

const KEEPER = resolve(import.meta.dirname, '../../bin/keep-daemon.sh')

/**
 * Runs the keeper with a daemon of sh that gets its number as $n, and answers how it ended and how long it waited
 * between two of them. Its `sleep` notes the time and sleeps not; its `date` goes on by `tickS` from look to look.
 */
async function keep(daemon: string, tickS = 1) {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-keeper-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const program = (name: string, ...lines: string[]) => {
    writeFileSync(join(folder, name), ['#!/bin/sh', ...lines, ''].join('\n'))
    chmodSync(join(folder, name), 0o755)
    return join(folder, name)
  }
  program('sleep', `echo "$1" >>${folder}/naps`)
  program(
    'date',
    `[ "$1" = +%s ] || exec /bin/date "$@"`,
    `now=$(($(cat ${folder}/now) + ${tickS})); echo $now >${folder}/now; echo $now`,
  )
  for (const [name, text] of [
    ['now', '0'],
    ['n', '0'],
    ['naps', ''],
  ] as const)
    writeFileSync(join(folder, name), text)
  const file = program(
    'daemon',
    `n=$(($(cat ${folder}/n) + 1)); echo $n >${folder}/n`,
    `serve() { echo "{\\"pid\\":$$,\\"port\\":1}" >${folder}/daemon.json; }`,
    daemon,
  )
  const { exitCode, stderr } = await execa('/bin/sh', [KEEPER, folder, file], {
    env: { PATH: `${folder}:/usr/bin:/bin` },
    extendEnv: false,
    reject: false,
    timeout: 20_000,
  })
  const naps = readFileSync(join(folder, 'naps'), 'utf8').split('\n').filter(Boolean).map(Number)
  return { exitCode, stderr, naps, runs: Number(readFileSync(join(folder, 'n'), 'utf8')) }
}

test('a daemon that dies again and again is started again after 1, 2, 4 s and so on, at most a minute', async () => {
  const { naps, exitCode, stderr } = await keep('serve; [ $n -lt 10 ] || exit 0; kill -KILL $$')
  expect(naps).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
  expect(exitCode).toBe(0)
  expect(stderr).toContain('the daemon died (status 137); it is started again in 1 s')
})

test('one that had served for a minute is started again at once', async () => {
  const { naps } = await keep('serve; [ $n -lt 5 ] || exit 0; exit 1', 60)
  expect(naps).toEqual([1, 2, 2, 2].map(() => 1))
})

test('a start that fails is told at first, and tried again once a daemon had served', async () => {
  expect(await keep('exit 69')).toMatchObject({ exitCode: 69, naps: [], runs: 1 })
  expect(await keep('[ $n -ne 1 ] || { serve; exit 1; }; [ $n -lt 4 ] || exit 0; exit 69')).toMatchObject({
    exitCode: 0,
    naps: [1, 2, 4],
    runs: 4,
  })
})

test.each([0, 75, 130, 143])('a daemon that ended with %i did so on purpose', async (status) => {
  expect(await keep(`serve; exit ${status}`)).toMatchObject({ exitCode: status, naps: [], runs: 1 })
})
