import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDatabase } from '../../src/store/database.ts'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'

test.each([
  ['', 'sqlite_autoindex_tasks_1', false],
  ["AND id < 'x'", 'sqlite_autoindex_tasks_1', false],
  ["AND status = 'succeeded'", 'sqlite_autoindex_tasks_1', false],
  ["AND project = 'a'", 'tasks_by_project', false],
  ["AND project = 'a' AND id < 'x'", 'tasks_by_project', false],
  ["AND status = 'failed' AND status IN ('failed', 'cancelled', 'dead')", 'tasks_ended_badly', false],
  // Of what is queued there is little.
  ["AND status = 'queued'", 'tasks_queued', true],
])('a list of tasks %s is read by %s, and sorted: %s', (where, index, sorted) => {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-plans-'))
  const migrationsDir = join(import.meta.dirname, '../../migrations/sqlite')
  const db = openDatabase({ file: join(folder, 'a.db'), migrationsDir, clock: Date.now, onFull: () => {} })
  const sql = `EXPLAIN QUERY PLAN SELECT * FROM tasks WHERE system = 'local' ${where} ORDER BY id DESC LIMIT 50`
  const plan = db
    .prepare<Record<string, never>, { detail: string }>(sql)
    .all({})
    .map(({ detail }) => detail)
    .join('; ')
  db.close()
  rmSync(folder, { recursive: true })
  expect([plan, plan.includes('TEMP B-TREE')]).toEqual([expect.stringContaining(index), sorted])
})
