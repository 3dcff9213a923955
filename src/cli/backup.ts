import { join, resolve } from 'node:path'
import { backUp } from '../store/backup.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'

/** `ccm backup`: a copy of the database, while the daemon works or not. */
export const backupCommand: DefineCommand = (context, done) =>
  createCommand('backup', 'Write a consistent copy of the database: tasks, results, events, projects.', [
    'ccm backup',
    'ccm backup ~/ccm-before-upgrade.db',
  ])
    .argument('[file]', 'a new file (default: in the folder backups of the home)')
    .action(async (file: string | undefined, options: { json?: boolean }) => {
      const { home } = await context.config()
      const name = `ccm-${new Date().toISOString().replaceAll(/[-:]/g, '').slice(0, 15)}.db`
      const { stderr } = context
      const shows = stderr.isTTY === true && !options.json
      let shown = -1
      const backup = await backUp({
        from: join(home, 'ccm.db'),
        to: file === undefined ? join(home, 'backups', name) : resolve(context.cwd, file),
        onProgress: (share) => {
          const percent = Math.floor(share * 100)
          if (shows && percent !== shown) stderr.write(`\rCopying … ${percent} %`)
          shown = percent
        },
      })
      if (shows) stderr.write('\r\x1b[K')
      if (options.json) printJson(context, backup)
      else
        context.stdout.write(
          `Backed up to ${oneLine(backup.file, 1000)} (${(backup.bytes / 1e6).toFixed(1)} MB, checked). Restore: ccm stop && ccm restore FILE\n`,
        )
      done(EXIT.ok)
    })
