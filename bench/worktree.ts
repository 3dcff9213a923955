import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probeSource, uncommitted } from '../src/agent/workspace-source.ts'
import { addTree, forgetTree, freeBranch } from '../src/agent/workspace-tree.ts'
import { median, type Bench, type Row } from './row.ts'

/**
 * From a project's directory to a tree an agent can begin in: look at the source, what is not committed, a free
 * branch, the checkout. Peer: plain `git worktree add -b`. Rounds alternate, the repositories are on this disk.
 */
export const bench: Bench = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-bench-'))
  try {
    return [
      await measure(join(folder, 'a'), 20_000, 7, 'at most 1,000 ms'),
      await measure(join(folder, 'b'), 100_000, 2, 'no goal: it works'),
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(folder: string, files: number, rounds: number, goal: string): Promise<Row> {
  const top = makeRepository(join(folder, 'source'), files)
  const ours: number[] = []
  const peer: number[] = []
  for (let round = 0; round <= rounds; round++) {
    const bare = join(folder, 'peer')
    const peerMs = await time(async () => git(top, 'worktree', 'add', '-q', '-b', `peer-${round}`, bare))
    git(top, 'worktree', 'remove', '--force', bare)
    const tree = join(folder, 'trees', `t${round}`)
    const oursMs = await time(async () => {
      const source = await probeSource(top)
      if (source.kind !== 'git') throw new Error('It is no repository.')
      const branch = await freeBranch(top, `t${round}`)
      await Promise.all([addTree({ top, tree, branch, base: source.head }), uncommitted(top)])
    })
    await forgetTree({ top, tree, branch: `ccm/t${round}` })
    // The first round of each warms the caches.
    if (round > 0) {
      ours.push(oursMs)
      peer.push(peerMs)
    }
  }
  const [peerMedian, oursMedian] = [median(peer), median(ours)]
  return {
    name: `a tree of ${files.toLocaleString('en')} files is ready`,
    peer: peerMedian,
    ours: oursMedian,
    ratio: peerMedian / oursMedian,
    unit: 'ms',
    goal,
  }
}

function makeRepository(top: string, files: number): string {
  for (let index = 0; index < files; index++) {
    if (index % 100 === 0) mkdirSync(join(top, `d${index / 100}`), { recursive: true })
    writeFileSync(
      join(top, `d${Math.floor(index / 100)}`, `f${index}.ts`),
      `export const x${index} = 1\n`.repeat(40),
    )
  }
  git(top, 'init', '-q')
  git(top, 'add', '-A')
  git(top, '-c', 'user.name=b', '-c', 'user.email=b@example.org', 'commit', '-qm', 'all')
  return top
}

async function time(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

function git(dir: string, ...args: string[]): void {
  execFileSync('git', args, { cwd: dir, stdio: 'ignore' })
}
