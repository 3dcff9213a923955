import { sep } from 'node:path'

/** Who works in which directory in place. One agent at a time: in a directory, above it, or below it. */
export type Places = {
  /** Null: it is theirs now. Else the task that has it. A task may take its own again. */
  take: (taskId: string, dir: string) => string | null
  leave: (taskId: string) => void
  /** The task that has a directory, or one above or below it; null: nobody. */
  holderOf: (dir: string, except?: string) => string | null
}

export function createPlaces(): Places {
  const places = new Map<string, string>()

  function holderOf(dir: string, except?: string): string | null {
    for (const [taskId, taken] of places) if (taskId !== except && overlaps(dir, taken)) return taskId
    return null
  }

  return {
    take(taskId, dir) {
      const holder = holderOf(dir, taskId)
      if (holder === null) places.set(taskId, dir)
      return holder
    },
    leave: (taskId) => void places.delete(taskId),
    holderOf,
  }
}

function overlaps(a: string, b: string): boolean {
  return a === b || a.startsWith(b + sep) || b.startsWith(a + sep)
}
