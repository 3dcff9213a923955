import { queueContract } from '../queue/contract.ts'
import { describeOnSupabase } from '../support/on-supabase.ts'
import { openStore, stopClock } from './store.ts'

describeOnSupabase(
  'over REST',
  (supabase) => {
    queueContract('supabase', async () => openStore(supabase()))
  },
  stopClock,
)
