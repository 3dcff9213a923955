import type { Candidate } from './sqlite-statements.ts'

/** A project's claimable tasks in their own order, and when it was served last; higher is later. */
export type Line = { project: string; turn: number; candidates: Candidate[] }

/**
 * Up to `limit` tasks in the order of a claim: by priority, then the project that was served longest ago, then
 * the oldest. `turns` says for each project that was served when it was, counted on from `newestTurn`.
 */
export function claimOrder(
  lines: Line[],
  newestTurn: number,
  limit: number,
): { ids: string[]; turns: Map<string, number> } {
  const waiting = lines.map((line) => ({ ...line, next: 0 }))
  const ids: string[] = []
  const turns = new Map<string, number>()
  while (ids.length < limit) {
    let best: { line: (typeof waiting)[number]; head: Candidate } | null = null
    for (const line of waiting) {
      const head = line.candidates[line.next]
      if (head === undefined) continue
      if (best === null || goesFirst({ line, head }, best)) best = { line, head }
    }
    if (best === null) break
    ids.push(best.head.id)
    best.line.next += 1
    best.line.turn = newestTurn + ids.length
    turns.set(best.line.project, best.line.turn)
  }
  return { ids, turns }
}

type Head = { line: { turn: number }; head: Candidate }

function goesFirst(a: Head, b: Head): boolean {
  const order =
    b.head.priority - a.head.priority ||
    a.line.turn - b.line.turn ||
    a.head.scheduled_at - b.head.scheduled_at ||
    a.head.created_at - b.head.created_at
  return order < 0 || (order === 0 && a.head.id < b.head.id)
}
