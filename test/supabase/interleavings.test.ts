import { Pool } from 'pg'
import { afterAll, beforeAll } from 'vitest'
import { queueInterleavings } from '../queue/interleavings.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { createPostgresCall } from '../support/postgres-call.ts'
import { openStore, stopClock, checkRows } from './store.ts'

describeOnSupabase(
  'over the protocol of the database',
  (supabase) => {
    let pool: Pool
    beforeAll(() => {
      pool = new Pool({ connectionString: supabase().databaseUrl, max: 4 })
    })
    afterAll(async () => pool.end())
    afterAll(async () => checkRows(supabase()))

    // Tens of thousands of calls, to which REST adds nothing but time.
    queueInterleavings('supabase', async () => openStore(supabase(), createPostgresCall(pool)), 25)
  },
  stopClock,
)
