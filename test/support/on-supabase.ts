import { afterAll, beforeAll, describe } from 'vitest'
import { whyNoPostgres } from './postgres.ts'
import { startSupabase, type TestSupabase } from './supabase.ts'

const whyNot = await whyNoPostgres()
const reason = whyNot === null ? '' : ` [${whyNot}]`

/**
 * A group of tests on a Supabase of their own, which stands once the first of them runs; `prepare` comes before.
 * Where no PostgreSQL can run they are skipped, and the name of the group says why.
 */
export function describeOnSupabase(
  name: string,
  define: (supabase: () => TestSupabase) => void,
  prepare?: (supabase: TestSupabase) => Promise<void>,
): void {
  describe.skipIf(whyNot !== null)(`${name}${reason}`, () => {
    let supabase: TestSupabase | null = null
    beforeAll(async () => {
      supabase = await startSupabase()
      await prepare?.(supabase)
    })
    afterAll(async () => supabase?.[Symbol.asyncDispose]())
    define(() => {
      if (supabase === null) throw new Error('The stand-in has not started yet.')
      return supabase
    })
  })
}
