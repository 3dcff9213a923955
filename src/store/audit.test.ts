import { expect, onTestFinished, test } from 'vitest'
import type { AuditEntry } from '../core/audit.ts'
import { createAuditLog } from './audit.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

const DAY_MS = 86_400_000

function open() {
  const home = temporaryHome()
  const db = openForTest(home.file)
  onTestFinished(() => {
    db.close()
    home[Symbol.dispose]()
  })
  return { db, log: createAuditLog(db, Date.now) }
}

const entryOf = (changed: Partial<AuditEntry>): Omit<AuditEntry, 'id'> => ({
  at: Date.now(),
  kind: 'key',
  who: 'k1',
  action: 'POST /api/tasks/:id/cancel',
  target: 'abc',
  taskId: 'abcdef',
  project: 'app',
  origin: '127.0.0.1',
  status: 200,
  code: null,
  requestId: 'r1',
  ...changed,
})

test('entries come back newest first, by caller, by time and page by page', () => {
  const { log } = open()
  const at = Date.now()
  log.add(entryOf({ at: at - 2000 }))
  log.add(entryOf({ at: at - 1000, kind: 'user', who: 'ann', target: 'x'.repeat(1000) }))
  log.add(entryOf({ at, status: 403, code: 'FORBIDDEN' }))
  const all = { since: null, who: null, before: null, limit: 10 }
  expect(log.list(all).map(({ id }) => id)).toEqual([3, 2, 1])
  expect(log.list(all)[0]).toEqual({ id: 3, ...entryOf({ at, status: 403, code: 'FORBIDDEN' }) })
  expect(log.list({ ...all, who: 'ann' }).map(({ id, target }) => [id, target?.length])).toEqual([[2, 200]])
  expect(log.list({ ...all, who: 'key' }).map(({ id }) => id)).toEqual([3, 1])
  expect(log.list({ ...all, since: at - 1500 }).map(({ id }) => id)).toEqual([3, 2])
  expect(log.list({ ...all, before: 3, limit: 1 }).map(({ id }) => id)).toEqual([2])
})

test('nobody changes an entry, or takes one away within a week', () => {
  const { db, log } = open()
  log.add(entryOf({}))
  log.add(entryOf({ at: Date.now() - 8 * DAY_MS }))
  expect(() => db.prepare('UPDATE audit SET status = 200').run({})).toThrow(/only added to/)
  expect(() => db.prepare('DELETE FROM audit WHERE id = 1').run({})).toThrow(/kept for a week/)
  // Whatever the configuration says.
  expect(log.prune(Date.now() + DAY_MS, 10)).toBe(1)
  expect(log.list({ since: null, who: null, before: null, limit: 10 }).map(({ id }) => id)).toEqual([1])
})
