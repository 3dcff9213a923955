import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { beforeAll, expect, test } from 'vitest'
import { describeOnSupabase } from '../support/on-supabase.ts'

// Where @supabase/lite is known to differ from PostgREST. One of these failing is good news or a warning: look at
// what changed, and at what the other tests took for granted.
describeOnSupabase('where the stand-in differs from PostgREST', (supabase) => {
  let client: SupabaseClient
  beforeAll(async () => {
    const { url, secretKey, sql } = supabase()
    client = createClient(url, secretKey)
    // Before the first request: then it reads what there is.
    await sql(`
      CREATE FUNCTION public.raises() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
      CREATE FUNCTION public.third() RETURNS numeric LANGUAGE sql AS 'SELECT 1.5';
      GRANT EXECUTE ON FUNCTION public.raises, public.third TO service_role`)
    await sql(`INSERT INTO systems (id, default_project) VALUES ('s', 'app')`)
    await sql(`INSERT INTO projects (system_id, name) VALUES ('s', 'app')`)
  })

  test('a violated CHECK is a status 500 with a code of its own, not 400 with 23514', async () => {
    const answer = await client.from('projects').insert({ system_id: 's', name: 'x', max_running: 0 })
    expect([answer.status, answer.error?.code]).toEqual([500, 'SUP'])
  })

  test('an error that a function raises is a status 500 with a code of its own, not 400 with P0001', async () => {
    const { status, error } = await client.rpc('raises')
    expect([status, error?.code]).toEqual([500, 'SUP'])
  })

  test('numeric comes as text, not as a number', async () => {
    expect((await client.rpc('third')).data).toBe('1.5')
  })

  test('times are as the server writes them, not ISO 8601', async () => {
    const { data } = await client.from('systems').select('created_at')
    expect(data?.[0]?.created_at).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00$/)
  })

  test('nobody answers for Realtime: its address is a page like any other', async () => {
    const { url, secretKey } = supabase()
    expect((await fetch(`${url}/realtime/v1/websocket?apikey=${secretKey}`)).status).toBe(200)
  })
})
