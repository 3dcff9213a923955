import { join, resolve } from 'node:path'
import { restore } from '../store/backup.ts'
import { acquireHomeLock } from '../store/lock.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { findPackageRoot } from './package-root.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'

/** `ccm restore`: puts a backup in the place of the database. */
export const restoreCommand: DefineCommand = (context, done) =>
  createCommand('restore', 'Put a backup in the place of the database; the present one is kept beside it.', [
    'ccm stop && ccm restore ~/ccm-before-upgrade.db && ccm start',
  ])
    .argument('<file>', 'what `ccm backup` wrote')
    .action(async (from: string, options: { json?: boolean }) => {
      const { home } = await context.config()
      // For all of it: no daemon may start meanwhile.
      const lock = acquireHomeLock(join(home, 'lock.db'))
      try {
        const restored = await restore({
          from: resolve(context.cwd, from),
          file: join(home, 'ccm.db'),
          migrationsDir: join(findPackageRoot(import.meta.url).folder, 'migrations/sqlite'),
          clock: Date.now,
        })
        if (options.json) printJson(context, restored)
        else {
          const kept =
            restored.aside === null ? '' : ` The database of before is ${oneLine(restored.aside, 1000)}.`
          context.stdout.write(`Restored.${kept} Next: ccm start\n`)
        }
      } finally {
        lock.release()
      }
      done(EXIT.ok)
    })
