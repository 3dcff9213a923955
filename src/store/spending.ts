import type { Spent } from '../core/task/budget.ts'
import type { ModelUsage } from '../core/task/task.ts'
import type { Database } from './database.ts'

/** One API message that was paid for. `at`: when it was first seen, milliseconds since 1970. */
export type SpentMessage = {
  id: string
  model: string
  usage: ModelUsage
  /** Null: the price of this model is not known. */
  costUsd: number | null
  at: number
}

/** Sums over messages, by model. */
export type ModelSpending = { model: string; tokens: number; costUsd: number | null; messages: number }

/** Tokens and dollars of one project and model since the record began; a message without a price costs 0 here. */
export type SpendingTotal = {
  project: string
  model: string
  input: number
  output: number
  cacheRead: number
  cacheWrite: number
  costUsd: number
}

/** What every task has spent, message by message: an attempt that goes on with an old session counts none twice. */
export type Spending = {
  /** A message that is known takes the new counts and keeps its time. */
  record: (taskId: string, project: string, messages: readonly SpentMessage[]) => void
  ofTask: (taskId: string) => Spent
  /** Since then; `project` null: all of them. */
  since: (at: number, project: string | null) => Spent
  totals: () => SpendingTotal[]
  /** Most expensive first. */
  byModel: (range: { from: number; to: number; project: string | null }) => ModelSpending[]
}

type Row = { tokens: number | null; cost: number | null; unpriced: string | null }

const SUMS =
  'sum(tokens) AS tokens, sum(cost_usd) AS cost, max(iif(cost_usd IS NULL, model, NULL)) AS unpriced'

/** Spending on the local database. */
export function createSpending(db: Database): Spending {
  const record = db.prepare<Record<string, string | number | null>>(
    `INSERT INTO spending (task_id, message_id, project, model, at, input_tokens, output_tokens,
       cache_read_tokens, cache_write_tokens, cost_usd)
     VALUES (:taskId, :id, :project, :model, :at, :input, :output, :cacheRead, :cacheWrite, :costUsd)
     ON CONFLICT (task_id, message_id) DO UPDATE SET input_tokens = :input, output_tokens = :output,
       cache_read_tokens = :cacheRead, cache_write_tokens = :cacheWrite, cost_usd = :costUsd`,
  )
  const ofTask = db.prepare<{ taskId: string }, Row>(`SELECT ${SUMS} FROM spending WHERE task_id = :taskId`)
  const all = db.prepare<{ at: number }, Row>(`SELECT ${SUMS} FROM spending WHERE at >= :at`)
  const ofProject = db.prepare<{ at: number; project: string }, Row>(
    `SELECT ${SUMS} FROM spending WHERE project = :project AND at >= :at`,
  )
  const byModel = db.prepare<
    { from: number; to: number; project: string | null },
    { model: string; tokens: number; cost: number | null; unpriced: number; messages: number }
  >(
    `SELECT model, sum(tokens) AS tokens, sum(cost_usd) AS cost, sum(cost_usd IS NULL) AS unpriced,
       count(*) AS messages
     FROM spending WHERE at >= :from AND at < :to AND (:project IS NULL OR project = :project)
     GROUP BY model ORDER BY cost DESC, tokens DESC`,
  )
  const totals = db.prepare<Record<string, never>, SpendingTotal>(
    `SELECT project, model, input_tokens AS input, output_tokens AS output, cache_read_tokens AS cacheRead,
       cache_write_tokens AS cacheWrite, cost_usd AS costUsd FROM spending_totals`,
  )
  return {
    totals: () => totals.all({}),
    record: (taskId, project, messages) =>
      db.transaction(() => {
        for (const { id, model, usage, costUsd, at } of messages) {
          record.run({
            taskId,
            id,
            project,
            model,
            at,
            input: usage.input_tokens,
            output: usage.output_tokens,
            cacheRead: usage.cache_read_input_tokens,
            cacheWrite: usage.cache_creation_input_tokens,
            costUsd,
          })
        }
      }),
    ofTask: (taskId) => toSpent(ofTask.get({ taskId })),
    since: (at, project) => toSpent(project === null ? all.get({ at }) : ofProject.get({ at, project })),
    byModel: (range) =>
      byModel
        .all(range)
        .map(({ unpriced, cost, ...row }) => ({ ...row, costUsd: unpriced > 0 ? null : cost })),
  }
}

function toSpent(row: Row | undefined): Spent {
  return { tokens: row?.tokens ?? 0, costUsd: row?.cost ?? 0, unpriced: row?.unpriced ?? null }
}
