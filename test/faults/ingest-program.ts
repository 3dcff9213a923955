import { resolve } from 'node:path'
import { pino } from 'pino'
import { createRedactor } from '../../src/core/redact.ts'
import { openDatabase } from '../../src/store/database.ts'
import { createHookEvents } from '../../src/store/hook-events.ts'
import { createIngest } from '../../src/supervisor/ingest/ingest.ts'

/** The daemon's reader of spools alone, to be killed: `node ingest-program.ts DATABASE SPOOL…`; says so when it reads. */
const [file = '', ...folders] = process.argv.slice(2)
const migrationsDir = resolve(import.meta.dirname, '../../migrations/sqlite')
const db = openDatabase({ file, migrationsDir, clock: Date.now })
const ingest = createIngest({
  hookEvents: createHookEvents(db),
  redactor: createRedactor(),
  clock: Date.now,
  logger: pino({ level: 'warn' }, pino.destination(2)),
  onEvents: () => undefined,
})
for (const [index, folder] of folders.entries()) ingest.add({ taskId: `t${index}`, attempt: 1, folder })
process.stdout.write('reads\n')
setInterval(() => ingest.rescan(), 500)
