import { cpSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { backUp, restore } from './backup.ts'
import type { Database } from './database.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

type Meta = { key: string; value: string }
const put = (db: Database, key: string, value = '') =>
  db.prepare<Meta>('INSERT INTO meta VALUES (:key, :value)').run({ key, value })
const keysOf = (db: Database) =>
  db
    .prepare<Record<string, never>, Meta>('SELECT * FROM meta ORDER BY key')
    .all({})
    .map(({ key }) => key)
const migrationsDir = fileURLToPath(new URL('../../migrations/sqlite', import.meta.url))
const clock = () => Date.UTC(2026, 0, 2)

test('a backup of a database in use is private, whole, one file, and comes back by a restore', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  put(db, 'a', 'x'.repeat(5_000_000))
  const shares: number[] = []
  const to = join(home.folder, 'b', 'backup.db')
  const working = backUp({
    from: home.file,
    to,
    onProgress: (share) => {
      // Written in the middle of the copy: it neither belongs to it nor begins it again.
      put(db, `late-${shares.length}`)
      shares.push(share)
    },
  })
  expect(await working).toEqual({ file: to, bytes: statSync(to).size })
  expect(shares.length).toBeGreaterThan(0)
  expect(statSync(to).mode & 0o777).toBe(0o600)
  expect(readdirSync(dirname(to))).toEqual(['backup.db'])
  const before = readFileSync(to)
  put(db, 'b')
  db.close()

  const { aside } = await restore({ from: to, file: home.file, migrationsDir, clock })
  const restored = openForTest(home.file)
  expect(keysOf(restored)).toEqual(['a'])
  expect(restored.notices).toEqual([])
  restored.close()
  expect(readFileSync(to).equals(before)).toBe(true)
  const old = openForTest(aside ?? '')
  expect(keysOf(old)).toEqual(expect.arrayContaining(['a', 'b', 'late-0']))
  old.close()
})

test('a backup never overwrites, and one without a database says so', async () => {
  using home = temporaryHome()
  openForTest(home.file).close()
  const taken = join(home.folder, 'taken')
  writeFileSync(taken, 'mine')
  await expect(backUp({ from: home.file, to: taken })).rejects.toMatchObject({ code: 'CONFLICT' })
  expect(readFileSync(taken, 'utf8')).toBe('mine')
  await expect(backUp({ from: join(home.folder, 'none.db'), to: `${taken}2` })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  })
  expect(readdirSync(home.folder).toSorted()).toEqual(['home', 'taken'])
})

test('a damaged database gives no backup, and nothing of one stays', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  put(db, 'a', 'x'.repeat(100_000))
  db.close()
  const bytes = readFileSync(home.file)
  bytes.fill(0xff, 5 * 4096, 9 * 4096)
  writeFileSync(home.file, bytes)
  const to = join(home.folder, 'b', 'backup.db')
  await expect(backUp({ from: home.file, to })).rejects.toMatchObject({ code: 'DATABASE_UNUSABLE' })
  expect(readdirSync(dirname(to))).toEqual([])
})

test('while somebody reads it, too, the database of before is whole by itself, and its log no part of the new one', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const from = join(home.folder, 'backup.db')
  await backUp({ from: home.file, to: from })
  put(db, 'in the log')
  const { aside } = await restore({ from, file: home.file, migrationsDir, clock })
  expect(existsSync(`${home.file}-wal`)).toBe(false)
  const alone = join(home.folder, 'alone.db')
  cpSync(aside ?? '', alone)
  const old = openForTest(alone)
  expect(keysOf(old)).toEqual(['in the log'])
  old.close()
  db.close()
})

test.each([
  ['garbage', 'DATABASE_UNUSABLE', (file: string) => writeFileSync(file, 'no database'.repeat(1000))],
  [
    'a backup with an overwritten page',
    'DATABASE_UNUSABLE',
    (file: string) => {
      const bytes = readFileSync(file)
      bytes.fill(0xff, 5 * 4096, 9 * 4096)
      writeFileSync(file, bytes)
    },
  ],
  [
    'a newer one',
    'DATABASE_TOO_NEW',
    (file: string) => {
      const db = openForTest(file)
      db.prepare('PRAGMA user_version = 999').run({})
      db.close()
    },
  ],
  ['an empty file', 'DATABASE_UNUSABLE', (file: string) => writeFileSync(file, '')],
])('%s is refused and the present database stays', async (_what, code, damage) => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  put(db, 'present')
  const to = join(home.folder, 'backup.db')
  await backUp({ from: home.file, to })
  db.close()
  damage(to)
  await expect(restore({ from: to, file: home.file, migrationsDir, clock })).rejects.toMatchObject({ code })
  expect(readdirSync(dirname(home.file))).toEqual(['ccm.db'])
  const again = openForTest(home.file)
  expect(keysOf(again)).toEqual(['present'])
  again.close()
})

test('a restore takes the place of a damaged database, and of none', async () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  put(db, 'good')
  const from = join(home.folder, 'backup.db')
  await backUp({ from: home.file, to: from })
  db.close()
  writeFileSync(home.file, 'garbage'.repeat(1000))
  const { aside } = await restore({ from, file: home.file, migrationsDir, clock })
  expect(readFileSync(aside ?? '', 'utf8')).toContain('garbage')
  const elsewhere = join(home.folder, 'other', 'ccm.db')
  expect(await restore({ from, file: elsewhere, migrationsDir, clock })).toEqual({ aside: null })
  expect(existsSync(elsewhere)).toBe(true)
  const again = openForTest(home.file)
  expect(keysOf(again)).toEqual(['good'])
  again.close()
})
