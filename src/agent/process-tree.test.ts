import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { killTree, sendSignal, treeOf } from './process-tree.ts'

const LINUX = process.platform === 'linux'

/** Runs a shell line with an attempt's marks; whatever it started is ended with the test. */
function start(line: string, env: Record<string, string> = {}) {
  const taskId = randomBytes(6).toString('hex')
  const child = spawn('/bin/sh', ['-c', line], {
    env: { PATH: process.env['PATH'], CCM_TASK_ID: taskId, CCM_ATTEMPT: '1', ...env },
    stdio: 'ignore',
  })
  const tree = { rootPid: child.pid ?? null, taskId, attempt: 1 }
  onTestFinished(async () => void (await killTree(tree)))
  return tree
}

const commands = (pids: number[]) =>
  pids.map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean).join(' '))
const sleepers = async (tree: Parameters<typeof treeOf>[0]) =>
  commands(await treeOf(tree))
    .filter((command) => command.startsWith('sleep'))
    .toSorted()

// The marks are read from /proc, which only Linux has.
test.runIf(LINUX)('the tree holds children, other sessions, and what lost its parent', async () => {
  const tree = start(
    "sleep 51 & setsid sleep 52 & nohup sleep 53 >/dev/null 2>&1 & (setsid sh -c 'sleep 54 & sleep 55' &) ; wait",
  )
  const expected = ['sleep 51', 'sleep 52', 'sleep 53', 'sleep 54', 'sleep 55']
  await expect.poll(() => sleepers(tree)).toEqual(expected)
  // By the marks alone, as after the end of the tmux server, it is the same.
  expect(await sleepers({ ...tree, rootPid: null })).toEqual(expected)
  // Neither the other attempt of this task nor another task's.
  expect(await treeOf({ ...tree, rootPid: null, attempt: 2 })).toEqual([])
  expect(await treeOf({ ...tree, rootPid: null, attempt: 11 })).toEqual([])
  expect(await treeOf({ ...tree, rootPid: null, taskId: tree.taskId.slice(0, -1) })).toEqual([])
  expect(await killTree(tree)).toEqual([])
  expect(await treeOf(tree)).toEqual([])
})

test('a child that cleared its environment is found through its parent', async () => {
  const tree = start('env -i sleep 56 & wait')
  await expect.poll(() => sleepers(tree)).toEqual(['sleep 56'])
  expect(await killTree(tree)).toEqual([])
})

test.runIf(LINUX)('what ignores every signal it can is killed all the same', async () => {
  const tree = start(
    `trap '' TERM HUP INT QUIT; setsid sh -c 'trap "" TERM HUP; while :; do sleep 57; done' & wait`,
  )
  await expect.poll(() => sleepers(tree)).toEqual(['sleep 57'])
  expect(await killTree(tree)).toEqual([])
})

test.runIf(LINUX)(
  'a tree that forks and leaves its parents while it is killed does not get away',
  async () => {
    // Each starts its successor in a new session and ends, so that the parent is gone before anybody looks.
    // 100 of them at most, or a killTree that lets them go would fill the machine.
    const hop =
      '[ "$LEFT" -gt 0 ] || exit; export LEFT=$((LEFT - 1)); sleep 0.03; (setsid sh -c "$HOP" &); (setsid sleep 59 &)'
    const tree = start('exec sh -c "$HOP"', { HOP: hop, LEFT: '100' })
    await expect.poll(async () => (await sleepers(tree)).length).toBeGreaterThan(2)
    expect(await killTree(tree)).toEqual([])
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await treeOf({ ...tree, rootPid: null })).toEqual([])
  },
)

test.runIf(LINUX)('a program whose name holds parentheses and blanks is read right', async () => {
  const tree = start(`cp "$(command -v sleep)" "$DIR/a) Z 1 (b" && "$DIR/a) Z 1 (b" 58 & wait`, {
    DIR: folder(),
  })
  await expect
    .poll(async () => commands(await treeOf(tree)).some((command) => command.endsWith('(b 58')))
    .toBe(true)
  expect(await killTree(tree)).toEqual([])
})

test('a zombie counts as gone, and a pid that is gone takes no signal', async () => {
  const tree = start('exit 0')
  await expect.poll(() => treeOf(tree)).toEqual([])
  expect(await killTree(tree, 100)).toEqual([])
  await expect.poll(() => sendSignal(tree.rootPid ?? 0, 0)).toBe(false)
})

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'ccm-tree-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

test('a signal goes to one process or to none: never to a group, never to every process', () => {
  for (const pid of [0, -0, -1, -process.pid, Number.NaN, 1.5]) expect(sendSignal(pid, 0)).toBe(false)
  expect(sendSignal(process.pid, 0)).toBe(true)
})
