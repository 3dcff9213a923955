import type { Logger } from 'pino'
import type { Clock } from '../core/clock.ts'
import type { Template } from '../core/task/template.ts'
import type { SharedTemplatesState } from '../core/task/worker.ts'
import { readTemplateRow } from '../protocol/template.ts'
import type { Notes } from '../store/notes.ts'
import { inTime } from '../supervisor/loops/in-time.ts'

/** The templates in Supabase, as they were read last: also by an earlier daemon of this home. */
export type SharedTemplates = {
  /** Up to 10 s old; where Supabase does not answer within 3 s, those that were read last. Never rejects. */
  list: () => Promise<readonly Template[]>
  state: () => SharedTemplatesState
  /** Reads them now, and from now on every 5 minutes, so that an outage finds them known. */
  begin: () => void
  close: () => void
}

const AGE_MS = 10_000
const WAIT_MS = 3000
const AGAIN_MS = 300_000
const NOTE = 'shared_templates'

type Known = { templates: Template[]; faults: string[]; readAt: number | null }

/** `read` answers the rows by name, more than `max` where there are more. `uptime` is in milliseconds. */
export function createSharedTemplates(deps: {
  read: () => Promise<unknown[]>
  max: number
  /** The queue did not answer the last call. */
  isDown: () => boolean
  /** What they belong to: a home that joins another system does not use those of the old one. */
  system: string
  notes: Notes
  clock: Clock
  uptime: () => number
  logger: Logger
}): SharedTemplates {
  const { system, notes, clock, logger } = deps
  let known = readNote()
  let triedAt = -Infinity
  let reading: Promise<void> = Promise.resolve()
  let closed = false
  let timer: NodeJS.Timeout | null = null

  function readNote(): Known {
    const noted = notes.read(NOTE) as { system?: unknown; rows?: unknown; readAt?: unknown } | undefined
    if (noted?.system !== system || !Array.isArray(noted.rows) || typeof noted.readAt !== 'number')
      return { templates: [], faults: [], readAt: null }
    return knownOf(noted.rows, deps.max, noted.readAt)
  }

  async function read(): Promise<void> {
    try {
      const rows = await deps.read()
      if (closed) return
      const next = knownOf(rows, deps.max, clock())
      for (const fault of next.faults.filter((one) => !known.faults.includes(one)))
        logger.warn({ code: 'BAD_TEMPLATE' }, `a template in Supabase cannot be used: ${fault}`)
      known = next
      // As rows: a later version reads them by its own rules.
      notes.write(NOTE, { system, readAt: next.readAt, rows })
    } catch (err) {
      if (!closed && !deps.isDown())
        logger.warn({ err }, 'the templates in Supabase could not be read; those of before count')
    }
  }

  /** Whoever asks meanwhile shares one read; one that failed is not tried again at once. */
  function refresh(): Promise<void> {
    if (deps.uptime() - triedAt >= AGE_MS) {
      triedAt = deps.uptime()
      reading = read()
    }
    return reading
  }

  return {
    async list() {
      if (deps.isDown()) return known.templates
      await inTime(WAIT_MS, refresh(), () => undefined)
      return known.templates
    },
    state: () => ({ readAt: known.readAt, usable: known.templates.length, faults: known.faults }),
    begin() {
      void refresh()
      timer = setInterval(() => void refresh(), AGAIN_MS).unref()
    },
    close() {
      closed = true
      if (timer !== null) clearInterval(timer)
    },
  }
}

function knownOf(rows: unknown[], max: number, readAt: number): Known {
  const known: Known = { templates: [], faults: [], readAt }
  for (const row of rows.slice(0, max)) {
    const read = readTemplateRow(row)
    if ('template' in read) known.templates.push(read.template)
    else known.faults.push(read.fault)
  }
  if (rows.length > max) known.faults.push(`There are more than ${max} templates; the last are not used.`)
  return known
}
