import type { SupabaseClient } from '@supabase/supabase-js'
import { CcmError } from '../../core/errors.ts'
import type { MetricsMinute, SharedIncident, TaskEvent } from '../../core/task/worker.ts'
import { refusalOf } from './refusal.ts'
import { storable } from './storable.ts'

/** Writes what a worker tells beside the queue; each call may be repeated, and stores nothing twice. */
export type SharedRecords = {
  /** An event of a task that is gone from the database is dropped. */
  putEvents: (events: readonly TaskEvent[]) => Promise<void>
  putMetrics: (minutes: readonly MetricsMinute[]) => Promise<void>
  putIncidents: (incidents: readonly SharedIncident[]) => Promise<void>
  /**
   * Deletes minutes and incidents that are older, this worker's and those of workers that are gone for as long; forgets
   * workers that were not seen for so long, and for 30 days at least.
   */
  prune: (olderThanMs: number) => Promise<void>
}

type Answer = { error: { code: string; message: string; hint: string | null } | null; status: number }

/** Throws what every call to Supabase throws. */
export function createSharedRecords(
  client: SupabaseClient,
  options: { system: string; worker: string; secretKey: string },
): SharedRecords {
  const { system, worker, secretKey } = options
  const done = async (call: string, answer: PromiseLike<Answer>): Promise<void> => {
    const { error, status } = await answer
    if (error !== null) throw refusalOf({ call, status, ...error }, secretKey)
  }

  const putRows = async (rows: object[]) =>
    done(
      'task_events',
      client
        .from('task_events')
        .upsert(storable(rows), { onConflict: 'system_id,task_id,attempt,seq', ignoreDuplicates: true }),
    )

  return {
    async putEvents(events) {
      if (events.length === 0) return
      const rows = events.map(({ taskId, attempt, seq, at, kind, message, data }) => {
        return { system_id: system, task_id: taskId, attempt, seq, at: iso(at), kind, message, data }
      })
      try {
        await putRows(rows)
      } catch (error) {
        if (!(error instanceof CcmError && error.code === 'SUPABASE_REFUSED')) throw error
        // One of them is refused, for its task is gone: the others are not to wait for ever.
        for (const row of rows)
          await putRows([row]).catch((one: unknown) => {
            if (!(one instanceof CcmError && one.code === 'SUPABASE_REFUSED' && /23503/.test(one.message)))
              throw one
          })
      }
    },
    async putMetrics(minutes) {
      if (minutes.length === 0) return
      const rows = minutes.map(({ minute, inputTokens, outputTokens, costUsd, ...counts }) => ({
        system_id: system,
        worker,
        minute: iso(minute),
        input_tokens: inputTokens,
        output_tokens: outputTokens,
        cost_usd: costUsd,
        ...counts,
      }))
      await done('metrics', client.from('metrics').upsert(rows, { onConflict: 'system_id,worker,minute' }))
    },
    async putIncidents(incidents) {
      if (incidents.length === 0) return
      const rows = incidents.map(({ seq, kind, what, taskId, openedAt, closedAt, ...data }) => ({
        system_id: system,
        worker,
        seq,
        task_id: taskId,
        at: iso(openedAt),
        kind,
        message: what,
        resolved_at: closedAt === null ? null : iso(closedAt),
        data,
      }))
      await done(
        'incidents',
        client.from('incidents').upsert(storable(rows), { onConflict: 'system_id,worker,seq' }),
      )
    },
    prune: async (olderThanMs) =>
      done(
        'records_prune',
        client.rpc('records_prune', { p_system: system, p_worker: worker, p_older_than_ms: olderThanMs }),
      ),
  }
}

function iso(at: number): string {
  return new Date(at).toISOString()
}
