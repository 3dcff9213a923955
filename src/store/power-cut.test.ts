import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Sqlite from 'better-sqlite3'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { mountDisk } from '../../test/support/disk.ts'
import { backUp, restore } from './backup.ts'
import type { Database } from './database.ts'
import { rescue } from './rescue.ts'
import { openForTest, temporaryHome } from './temporary-database.ts'

const migrationsDir = fileURLToPath(new URL('../../migrations/sqlite', import.meta.url))
const put = (db: Database, key: string) =>
  db.prepare<{ key: string }>("INSERT INTO meta VALUES (:key, '')").run({ key })

function keysIn(file: string): string[] {
  const native = new Sqlite(file)
  try {
    const rows = native.prepare('SELECT key FROM meta ORDER BY key').all() as { key: string }[]
    return rows.map(({ key }) => key)
  } finally {
    native.close()
  }
}

/** Each makes `file`, with the row `kept`, from the database that is given. */
const WRITERS: [string, (given: string, file: string) => Promise<unknown>][] = [
  ['a backup', (given, file) => backUp({ from: given, to: file })],
  ['a restored database', (from, file) => restore({ from, file, migrationsDir, clock: () => 0 })],
  ['a database that was deleted and put back', async (given, file) => rescue(new Sqlite(given), file, 0)],
]

test.for(WRITERS)('%s survives a power cut as soon as it is there', async ([, write], { skip }) => {
  using home = temporaryHome()
  await using disk = await mountDisk(join(home.folder, 'disk'))
  if (disk === null) return skip('nothing may be mounted here')
  const given = join(home.folder, 'disk/given.db')
  const db = openForTest(given)
  put(db, 'kept')
  db.close()
  await execa('sync', ['-f', given])
  const file = join(home.folder, 'disk/new/ccm.db')
  await write(given, file)
  await using left = await disk.cut()
  expect(keysIn(join(left.folder, 'new', basename(file)))).toEqual(['kept'])
})
