import type { ScriptedFleet } from '../scripted/fleet.ts'
import { eventually } from './fixture.ts'

/** Adds tasks that work until `letGo`, and waits until each has its agent. */
export async function atWork(fleet: ScriptedFleet, count: number, more: object = {}): Promise<string[]> {
  fleet.hold()
  const ids: string[] = []
  for (let index = 0; index < count; index++)
    ids.push(await fleet.add(`work${index}`, { holdFile: fleet.holdFile, workMs: 100, ...more }))
  await eventually('all work', () => prompted(fleet) >= count, 90_000)
  return ids
}

/** How many agents have begun their turn and live. */
export function prompted(fleet: ScriptedFleet): number {
  const begun = new Set(
    fleet
      .ledger()
      .flatMap((entry) => (entry.kind === 'sent' && entry.name === 'PostToolUse' ? [entry.pid] : [])),
  )
  return fleet.living().filter(({ pid }) => begun.has(pid)).length
}

/** Who works at what, to compare it later. */
export const pidsOf = (fleet: ScriptedFleet) =>
  fleet
    .living()
    .map(({ task, pid }) => `${task} ${pid}`)
    .toSorted()
