import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { readScreen } from '../core/screen/screen.ts'
import type { Pane } from './pane.ts'
import { killTree, sendSignal, treeOf, type TreeOf } from './process-tree.ts'

/** The slash menu opens as `/exit` is typed, and swallows an Enter that comes too early. */
const SLASH_MENU_MS = 500

/**
 * Ends an agent so that nothing of it stays: `/exit` where `politely` and its input box is free, then TERM to
 * Claude Code (it writes its last records on both), then SIGKILL to the whole tree, then the window. Returns
 * the pids that would not die; normally none.
 */
export async function endAgent(options: {
  pane: Pane
  tree: TreeOf
  /** Claude Code's own pid, where its session file told it. */
  claudePid: number | null
  exitFile: string
  politely: boolean
  /** How long each of the two polite ways may take. */
  exitMs: number
}): Promise<number[]> {
  const { pane, tree, exitMs } = options
  const hasExited = async () => existsSync(options.exitFile) || (await treeOf(tree)).length === 0
  if (options.politely) await typeExit(pane, () => waitFor(hasExited, exitMs)).catch(() => undefined)
  if (!(await hasExited())) {
    // Where no session file named it, everything but the shell in the pane: that one keeps the exit status.
    // The pid is believed only while it is one of the tree: it may be a stranger's by now.
    const members = await treeOf(tree)
    const targets = members.includes(options.claudePid ?? -1) ? [options.claudePid ?? -1] : members
    for (const pid of targets) if (pid !== tree.rootPid) sendSignal(pid, 'SIGTERM')
    await waitFor(hasExited, exitMs)
  }
  const left = await killTree(tree)
  await pane.close().catch(() => undefined)
  return left
}

async function typeExit(pane: Pane, exited: () => Promise<boolean>): Promise<void> {
  if ((await pane.isAttended()) || readScreen(await pane.capture()).composer !== '') return
  await pane.paste('/exit')
  await sleep(SLASH_MENU_MS)
  if (!readScreen(await pane.capture()).composer?.startsWith('/exit')) return
  await pane.press('Enter')
  await exited()
}

async function waitFor(condition: () => Promise<boolean>, limitMs: number): Promise<boolean> {
  const until = performance.now() + limitMs
  for (;;) {
    if (await condition()) return true
    if (performance.now() > until) return false
    await sleep(50)
  }
}
