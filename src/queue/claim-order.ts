/** A queued task as a claim compares it. */
export type Candidate = {
  id: string
  project: string
  priority: number
  scheduled_at: number
  created_at: number
}

/** A project that may start up to `room` tasks now, and when it was served last; higher is later. */
export type Line = { project: string; turn: number; room: number }

/**
 * Up to `limit` tasks in the order of a claim: by priority, then the project that was served longest ago, then
 * the oldest. `turns` says for each project that was served when it was, counted on from `newestTurn`. `read`
 * gives the next `count` claimable tasks of each of these projects in their order, after the first `skip`.
 */
export function claimOrder(options: {
  lines: Line[]
  newestTurn: number
  limit: number
  read: (projects: string[], skip: number, count: number) => Candidate[]
}): { ids: string[]; turns: Map<string, number> } {
  const { limit, newestTurn, read } = options
  const ids: string[] = []
  const turns = new Map<string, number>()
  if (limit <= 0 || options.lines.length === 0) return { ids, turns }
  // As many as each project gets when all are alike: few rows are read in vain, and few are read for again.
  const portion = Math.ceil(limit / options.lines.length)
  const lines = new Map(
    options.lines.map((line) => [line.project, { ...line, tasks: [] as Candidate[], next: 0 }]),
  )
  for (const task of read([...lines.keys()], 0, portion)) lines.get(task.project)?.tasks.push(task)

  while (ids.length < limit) {
    let best: {
      line: { turn: number; next: number; project: string; room: number }
      head: Candidate
    } | null = null
    for (const line of lines.values()) {
      if (line.next >= line.room) continue
      if (line.next > 0 && line.next === line.tasks.length && line.next % portion === 0) {
        line.tasks.push(...read([line.project], line.next, portion))
      }
      const head = line.tasks[line.next]
      if (head === undefined) lines.delete(line.project)
      else if (best === null || goesFirst(line.turn, head, best.line.turn, best.head)) best = { line, head }
    }
    if (best === null) break
    ids.push(best.head.id)
    best.line.next += 1
    best.line.turn = newestTurn + ids.length
    turns.set(best.line.project, best.line.turn)
  }
  return { ids, turns }
}

function goesFirst(turn: number, task: Candidate, otherTurn: number, other: Candidate): boolean {
  const order =
    other.priority - task.priority ||
    turn - otherTurn ||
    task.scheduled_at - other.scheduled_at ||
    task.created_at - other.created_at
  return order < 0 || (order === 0 && task.id < other.id)
}
