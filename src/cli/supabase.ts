import { join } from 'node:path'
import { CcmError } from '../core/errors.ts'
import { migratePostgres, readPostgresMigrations } from '../queue/supabase/migrate.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { findPackageRoot } from './package-root.ts'
import { createCommand } from './parse.ts'

/** `ccm supabase`: the queue in a Supabase project. */
export const supabaseCommand: DefineCommand = (context, done) =>
  createGroup('supabase', 'Set up the shared queue in a Supabase project.', ['ccm supabase migrate'], {
    alone: async () => {
      throw new CcmError('BAD_INPUT', 'What of it? There is: migrate.', {
        remedy: 'See: ccm supabase --help',
      })
    },
    subcommands: [
      createCommand('migrate', 'Bring the tables and functions of a Supabase database to this version.', [
        'CCM_DB_URL=postgres://… ccm supabase migrate',
        'ccm supabase migrate --db-url postgres://postgres.REF:PASSWORD@HOST:5432/postgres',
      ])
        .option('--db-url <url>', 'connection string; the variable CCM_DB_URL keeps it out of `ps`')
        .action(async (options: { dbUrl?: string; json?: boolean }) => {
          const url = options.dbUrl ?? context.env['CCM_DB_URL']
          if (url === undefined) {
            throw new CcmError('BAD_INPUT', 'Which database? There is neither --db-url nor CCM_DB_URL.', {
              remedy: 'Copy the connection string from the Supabase dashboard (Connect).',
            })
          }
          const folder = join(findPackageRoot(import.meta.url).folder, 'migrations/postgres')
          const { applied, before } = await migratePostgres(url, readPostgresMigrations(folder))
          if (options.json) printJson(context, { applied, before })
          else if (applied.length === 0) context.stdout.write('The database is up to date.\n')
          else context.stdout.write(`Applied ${applied.join(', ')}.\n`)
          done(EXIT.ok)
        }),
    ],
  })
