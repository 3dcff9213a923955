import { expect, test } from 'vitest'
import { refusalOf, type SupabaseFault } from './refusal.ts'

const SECRET = 'sb_secret_x'
const refused = (more: Partial<SupabaseFault>, key = SECRET) =>
  refusalOf({ call: 'tasks_claim', status: 403, code: '42501', ...more }, key)

test('a right that is missing is told as that, with the statement that gives it back', () => {
  const error = refused({ message: 'permission denied for function tasks_claim' })
  expect(error.code).toBe('SUPABASE_REFUSED')
  expect(error.message).toMatch(/its role lacks a right: permission denied for function tasks_claim$/)
  expect(error.remedy).toMatch(
    /`ccm supabase migrate`.*: grant execute on function public\.tasks_claim to service_role;$/,
  )
})

test('the statement of the API itself goes before ours, and where none is known none is told', () => {
  const message = 'permission denied for table metrics'
  const hint = 'GRANT INSERT ON public.metrics TO service_role;'
  expect(refused({ message, hint }).remedy).toMatch(/SQL editor: GRANT INSERT ON public\.metrics/)
  expect(refused({ message, hint: 'Ask somebody.' }).remedy).toMatch(/grant select, insert, .*metrics/)
  expect(refused({ message: 'must be owner of table tasks' }).remedy).toMatch(/took this one back\.$/)
})

test('row level security is told as such', () => {
  const error = refused({ message: 'new row violates row-level security policy for table "metrics"' })
  expect(error.message).toMatch(/^Row level security refuses/)
  expect(error.remedy).toContain('alter role service_role bypassrls;')
})

test('where the key is not a secret one it is the key', () => {
  const message = 'permission denied for function tasks_claim'
  const error = refused({ message, status: 401 }, 'sb_publishable_x')
  expect(error.message).toMatch(/publishable key/)
  expect(error.remedy).not.toMatch(/grant|migrate/)
})

test('a database that takes no changes for now is one that is away, and its tables are not blamed', () => {
  const message = 'cannot execute INSERT in a read-only transaction'
  const error = refused({ message, code: '25006', status: 405 })
  expect(error.code).toBe('SUPABASE_UNREACHABLE')
  expect(error.message).toBe(`The Supabase database takes no tasks_claim now: ${message}`)
  expect(error.remedy).toMatch(/read-only when its disk is nearly full/)
  expect(error.remedy).not.toMatch(/migrate/)
})
