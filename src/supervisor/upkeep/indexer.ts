import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import { messageOf } from '../../core/errors.ts'
import type { Search } from '../../store/search.ts'

/** Keeps the search index behind the ingest, in steps of a few ms. */
export type Indexer = {
  /** New events were stored; any number of calls are one. */
  nudge: () => void
  /** Resolves when every event stored so far can be found, or cannot be indexed now: on a full disk, say. */
  caughtUp: () => Promise<void>
  close: () => Promise<void>
}

/** While events come, the ingest goes first. */
const QUIET_MS = 500

export function createIndexer(options: { search: Search; logger: Logger }): Indexer {
  let timer: NodeJS.Timeout | null = null
  let running: Promise<void> | null = null
  const stop = new AbortController()

  async function run(): Promise<void> {
    const { search } = options
    while (!stop.signal.aborted && search.index()) await nextTurn()
    while (!stop.signal.aborted && search.tidy()) await nextTurn()
  }

  function caughtUp(): Promise<void> {
    running ??= run()
      .catch((error: unknown) =>
        options.logger.warn({ code: 'SEARCH_INDEX' }, `search is behind: ${messageOf(error)}`),
      )
      .finally(() => (running = null))
    return running
  }

  return {
    nudge() {
      if (stop.signal.aborted || timer !== null) return
      timer = setTimeout(() => {
        timer = null
        void caughtUp()
      }, QUIET_MS)
      timer.unref()
    },
    caughtUp,
    async close() {
      stop.abort()
      if (timer !== null) clearTimeout(timer)
      await running
    },
  }
}
