import { readdirSync } from 'node:fs'
import { execa } from 'execa'
import { setTimeout as sleep } from 'node:timers/promises'
import { readOfProcess } from './proc.ts'
import { killScope, scopeName, scopePathOf } from './scope.ts'

/** Which processes belong to an attempt. */
export type TreeOf = {
  /** Of the program in the pane; its descendants belong to the tree. Null: found by the marks alone. */
  rootPid: number | null
  taskId: string
  attempt: number
}

/**
 * Pids of everything an attempt started and that still lives: descendants of the pane's program, and on
 * Linux every process whose environment carries the attempt's CCM_TASK_ID and CCM_ATTEMPT, or that is in the
 * attempt's scope. The marks find what moved to another session or lost its parent. Without a scope two kinds
 * escape: a program that also cleared its environment and lost its parent, and one that replaces itself by an
 * orphan again and again within milliseconds.
 */
export async function treeOf(tree: TreeOf): Promise<number[]> {
  const parents = process.platform === 'linux' ? parentsFromProc() : await parentsFromPs()
  const members = new Set<number>()
  if (tree.rootPid !== null && parents.has(tree.rootPid)) members.add(tree.rootPid)
  const scope = scopeName(tree)
  for (const pid of parents.keys())
    if (isMarked(pid, tree) || scopePathOf(pid, scope) !== null) members.add(pid)
  for (let grew = true; grew;) {
    grew = false
    for (const [pid, parent] of parents) {
      if (members.has(parent) && !members.has(pid)) {
        members.add(pid)
        grew = true
      }
    }
  }
  members.delete(process.pid)
  return [...members]
}

/** One look may miss a process that its parent starts, or that runs `exec`, at that very moment. */
const EMPTY_LOOKS = 3
/** After a look that failed. */
const LOOK_AGAIN_MS = 50

/**
 * Kills the whole tree with SIGKILL and returns when none of it is left, or after `limitMs` with the pids
 * that would not go. Repeats until several looks found nothing: a process may fork between look and kill.
 * Throws where until then no look was possible (EMFILE, say): what cannot be seen may live.
 */
export async function killTree(tree: TreeOf, limitMs = 5000): Promise<number[]> {
  const until = performance.now() + limitMs
  const killed = new Set<number>()
  for (let empty = 0; ;) {
    const pids = await treeOf(tree).catch((error: unknown) => {
      if (performance.now() > until) throw error
      return null
    })
    if (pids === null) {
      await sleep(LOOK_AGAIN_MS)
      continue
    }
    if (pids.length === 0 && ++empty === EMPTY_LOOKS) return []
    if (pids.length > 0) empty = 0
    if (pids.length > 0 && performance.now() > until) return pids
    const scope = scopeOf(pids, tree)
    if (scope !== null) killScope(scope)
    // Something new means that the tree still grows: it must get no head start.
    const grows = pids.some((pid) => !killed.has(pid))
    for (const pid of pids) {
      sendSignal(pid, 'SIGKILL')
      killed.add(pid)
    }
    await sleep(grows ? 0 : 10)
  }
}

function scopeOf(pids: number[], tree: TreeOf): string | null {
  if (process.platform !== 'linux') return null
  for (const pid of pids) {
    const path = scopePathOf(pid, scopeName(tree))
    if (path !== null) return path
  }
  return null
}

/**
 * Sends a signal; false when the process is gone, and for what is the pid of no one process: to the kernel 0 is
 * our own group and -1 every process, and some pids are read from files that others write.
 */
export function sendSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, signal)
    return true
  } catch {
    return false
  }
}

/** When a process started, in clock ticks since the machine did, as text; null where /proc does not tell. */
export function startOf(pid: number): string | null {
  try {
    const stat = readOfProcess(pid, 'stat')
    // The 22nd field, the 20th after the name.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}

function parentsFromProc(): Map<number, number> {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = readOfProcess(Number(entry), 'stat')
    // The name in parentheses may hold anything, also `) Z 1 (`: the fields follow the last parenthesis.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[1] === undefined) continue
    parents.set(Number(entry), Number(fields[1]))
  }
  return parents
}

async function parentsFromPs(): Promise<Map<number, number>> {
  const { stdout } = await execa('ps', ['-axo', 'pid=,ppid=,stat='])
  const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/))
  return new Map(
    rows.filter(([, , stat]) => !stat?.startsWith('Z')).map(([pid, ppid]) => [Number(pid), Number(ppid)]),
  )
}

function isMarked(pid: number, { taskId, attempt }: TreeOf): boolean {
  if (process.platform !== 'linux') return false
  const environment = `\0${readOfProcess(pid, 'environ')}`
  return (
    environment.includes(`\0CCM_TASK_ID=${taskId}\0`) && environment.includes(`\0CCM_ATTEMPT=${attempt}\0`)
  )
}
