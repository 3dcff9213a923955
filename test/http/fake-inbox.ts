import type { InboxEntry } from '../../src/core/inbox.ts'
import type { AppDeps } from '../../src/http/deps.ts'

/** An inbox of arrays: with what is given in it. */
export function createFakeInbox(entries: InboxEntry[] = []): AppDeps['inbox'] {
  const of = (id: number) => entries.find((entry) => entry.id === id) ?? null
  const change = (id: number, changes: Partial<InboxEntry>) => {
    const entry = of(id)
    return entry === null ? null : Object.assign(entry, changes)
  }
  return {
    list: async ({ state }) => entries.filter((entry) => state === null || entry.state === state),
    get: async (id) => of(id),
    approve: async (id, decidedBy) => change(id, { state: 'pending', decidedBy }),
    refuse: async (id, decidedBy, reason) => change(id, { state: 'refused', decidedBy, reason }),
  }
}
