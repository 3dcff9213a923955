import { afterAll } from 'vitest'
import { queueContract } from '../queue/contract.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { openStore, stopClock, checkRows } from './store.ts'

describeOnSupabase(
  'over REST',
  (supabase) => {
    afterAll(async () => checkRows(supabase()))
    queueContract('supabase', async () => openStore(supabase()))
  },
  stopClock,
)
