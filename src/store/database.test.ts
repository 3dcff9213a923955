import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { openDatabase } from './database.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

type Meta = { key: string; value: string }

function keep(file: string, key: string): void {
  const db = openForTest(file)
  db.prepare<Meta>('INSERT INTO meta VALUES (:key, :value)').run({ key, value: 'kept' })
  db.close()
}

function keysIn(file: string): string[] {
  const db = openForTest(file)
  const keys = db.prepare<Record<string, never>, Meta>('SELECT * FROM meta').all({})
  db.close()
  return keys.map(({ key }) => key)
}

test('a new database is private, durable and checks references', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  expect(statSync(home.file).mode & 0o777).toBe(0o600)
  expect(statSync(dirname(home.file)).mode & 0o777).toBe(0o700)
  const pragma = (name: string): unknown =>
    db.prepare<Record<string, never>, object>(`PRAGMA ${name}`).get({})
  expect(pragma('journal_mode')).toEqual({ journal_mode: 'wal' })
  expect(pragma('synchronous')).toEqual({ synchronous: 2 })
  expect(pragma('foreign_keys')).toEqual({ foreign_keys: 1 })
  expect(pragma('busy_timeout')).toEqual({ timeout: 200 })
  expect(db.notices).toEqual([])
  db.close()
})

test('a file that others could read becomes private when it is opened', () => {
  using home = temporaryHome()
  keep(home.file, 'a')
  chmodSync(home.file, 0o644)
  openForTest(home.file).close()
  expect(statSync(home.file).mode & 0o777).toBe(0o600)
})

test('rows outlive the process that wrote them', () => {
  using home = temporaryHome()
  keep(home.file, 'a')
  expect(keysIn(home.file)).toEqual(['a'])
})

test('migrations run once, in order, each with its number', () => {
  using home = temporaryHome()
  const migrationsDir = join(home.folder, 'migrations')
  const clock = () => 1
  mkdirSync(migrationsDir)
  writeFileSync(join(migrationsDir, '0001-a.sql'), 'CREATE TABLE a (x TEXT) STRICT;')
  openDatabase({ file: home.file, migrationsDir, clock }).close()
  writeFileSync(join(migrationsDir, '0002-b.sql'), `INSERT INTO a VALUES ('second');`)
  openDatabase({ file: home.file, migrationsDir, clock }).close()
  const db = openDatabase({ file: home.file, migrationsDir, clock })
  expect(db.prepare<Record<string, never>, object>('SELECT x FROM a').all({})).toEqual([{ x: 'second' }])
  expect(db.prepare<Record<string, never>, object>('PRAGMA user_version').get({})).toEqual({
    user_version: 2,
  })
  db.close()
})

test('a migration that fails leaves nothing of itself', () => {
  using home = temporaryHome()
  const migrationsDir = join(home.folder, 'migrations')
  const clock = () => 1
  mkdirSync(migrationsDir)
  const wrong = join(migrationsDir, '0001-a.sql')
  writeFileSync(wrong, 'CREATE TABLE a (x TEXT); CREATE TABLE a (x TEXT);')
  expect(() => openDatabase({ file: home.file, migrationsDir, clock })).toThrow(/already exists/)
  writeFileSync(wrong, 'CREATE TABLE a (x TEXT);')
  openDatabase({ file: home.file, migrationsDir, clock }).close()
})

test('migrations with a gap are refused', () => {
  using home = temporaryHome()
  const migrationsDir = join(home.folder, 'migrations')
  mkdirSync(migrationsDir)
  writeFileSync(join(migrationsDir, '0002-b.sql'), '')
  expect(() => openDatabase({ file: home.file, migrationsDir, clock: () => 1 })).toThrow(/0002-b.sql/)
})

test('a database of a newer ccm is refused and stays as it is', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  db.prepare('PRAGMA user_version = 99').run({})
  db.close()
  const before = readFileSync(home.file)
  expect(() => openForTest(home.file)).toThrow(
    expect.objectContaining({ code: 'DATABASE_TOO_NEW', remedy: expect.stringContaining('newer ccm') }),
  )
  expect(readFileSync(home.file).equals(before)).toBe(true)
})

test.each([
  ['a file that is no database', (file: string) => writeFileSync(file, 'not a database'.repeat(1000))],
  ['an emptied file', (file: string) => writeFileSync(file, '')],
  [
    'a file with an overwritten page',
    (file: string) => {
      const bytes = readFileSync(file)
      bytes.fill(0xff, 4096, 3 * 4096)
      writeFileSync(file, bytes)
    },
  ],
])('%s is set aside and a new database begun', (_what, damage) => {
  using home = temporaryHome()
  keep(home.file, 'a')
  damage(home.file)
  const damaged = readFileSync(home.file)
  const db = openForTest(home.file, () => Date.UTC(2026, 0, 2, 3, 4, 5))
  const aside = `${home.file}.corrupt-20260102T030405.000Z`
  expect(db.notices).toEqual([expect.stringContaining(aside)])
  expect(readFileSync(aside).equals(damaged)).toBe(true)
  db.close()
  expect(readdirSync(dirname(home.file)).filter((name) => !name.includes('corrupt'))).toEqual(['ccm.db'])
  expect(keysIn(home.file)).toEqual([])
  expect(openForTest(home.file).notices).toEqual([])
})

test('the log of a damaged file goes with it', () => {
  using home = temporaryHome()
  keep(home.file, 'a')
  writeFileSync(home.file, 'not a database'.repeat(1000))
  writeFileSync(`${home.file}-wal`, 'its log')
  openForTest(home.file, () => Date.UTC(2026, 0, 2)).close()
  expect(readFileSync(`${home.file}.corrupt-20260102T000000.000Z-wal`, 'utf8')).toBe('its log')
})

test('a path that cannot hold a database is an error with a remedy', () => {
  using home = temporaryHome()
  mkdirSync(home.file, { recursive: true })
  expect(() => openForTest(home.file)).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNUSABLE', remedy: expect.stringContaining('CCM_HOME') }),
  )
  writeFileSync(join(home.folder, 'plain'), '')
  expect(() => openForTest(join(home.folder, 'plain', 'ccm.db'))).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNUSABLE' }),
  )
})

test('a full disk is DISK_FULL, reads go on, and so do writes once there is room', () => {
  using home = temporaryHome()
  const heard: string[] = []
  const db = openForTest(home.file, undefined, () => heard.push('full'))
  const pages = db.prepare<Record<string, never>, { page_count: number }>('PRAGMA page_count').get({})
  db.prepare(`PRAGMA max_page_count = ${pages?.page_count}`).all({})
  const insert = db.prepare<Meta>('INSERT INTO meta VALUES (:key, :value)')
  const large = { key: 'large', value: 'x'.repeat(100_000) }
  expect(() => insert.run(large)).toThrow(expect.objectContaining({ code: 'DISK_FULL' }))
  expect(heard).toEqual(['full'])
  expect(() => db.transaction(() => insert.run(large))).toThrow(
    expect.objectContaining({ code: 'DISK_FULL' }),
  )
  expect(db.prepare('SELECT * FROM meta').all({})).toEqual([])
  db.prepare('PRAGMA max_page_count = 100000').all({})
  expect(db.transaction(() => insert.run(large))).toBe(1)
  db.close()
})

test('a database that is read-only or locked says so', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const other = openForTest(home.file)
  const insert = db.prepare<Meta>('INSERT INTO meta VALUES (:key, :value)')
  const startedAt = performance.now()
  other.transaction(() => {
    expect(() => insert.run({ key: 'a', value: '' })).toThrow(/Another program holds/)
  })
  // Below the 5 s that SQLite's binding would wait by itself.
  expect(performance.now() - startedAt).toBeLessThan(4_500)
  db.prepare('PRAGMA query_only = 1').run({})
  expect(() => insert.run({ key: 'a', value: '' })).toThrow(
    expect.objectContaining({ code: 'DATABASE_UNUSABLE', message: expect.stringContaining('read-only') }),
  )
  db.close()
  other.close()
})

test('a deleted or replaced file is noticed', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  expect(db.isStillThere()).toBe(true)
  cpSync(home.file, `${home.file}.new`)
  rmSync(home.file)
  expect(db.isStillThere()).toBe(false)
  cpSync(`${home.file}.new`, home.file)
  expect(db.isStillThere()).toBe(false)
  db.close()
})

test('a transaction that throws leaves nothing, whatever it threw', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  const insert = db.prepare<Meta>('INSERT INTO meta VALUES (:key, :value)')
  const failing = () => {
    insert.run({ key: 'a', value: '' })
    throw new RangeError('ours')
  }
  expect(() => db.transaction(failing)).toThrow(RangeError)
  expect(db.prepare('SELECT * FROM meta').all({})).toEqual([])
  db.close()
})

test('an async function is refused before any of it runs', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  let ran = false
  const work = async () => {
    ran = true
  }
  expect(() => db.transaction(work)).toThrow(/async/)
  expect(ran).toBe(false)
  expect(() => db.transaction(() => Promise.resolve())).toThrow(/promise/)
  db.close()
})

test('the same text is prepared once', () => {
  using home = temporaryHome()
  const db = openForTest(home.file)
  expect(db.prepare('SELECT 1')).toBe(db.prepare('SELECT 1'))
  db.close()
  expect(existsSync(`${home.file}-wal`)).toBe(false)
})
