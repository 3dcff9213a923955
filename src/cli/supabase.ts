import { CcmError } from '../core/errors.ts'
import { migratePostgres, readPostgresMigrations } from '../queue/supabase/migrate.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { createCommand } from './parse.ts'
import { initSupabase, migrationsFolder, type InitOptions } from './supabase-init.ts'

/** `ccm supabase`: the queue in a Supabase project. */
export const supabaseCommand: DefineCommand = (context, done) =>
  createGroup(
    'supabase',
    'Set up the shared queue in a Supabase project.',
    ['ccm supabase init', 'ccm supabase migrate'],
    {
      alone: async () => {
        throw new CcmError('BAD_INPUT', 'What of it? There is: init, migrate.', {
          remedy: 'See: ccm supabase --help',
        })
      },
      subcommands: [
        createCommand(
          'init',
          'Connect this machine to a Supabase project, checking each step; asks for what is missing.',
          [
            'ccm supabase init',
            'CCM__SUPABASE__SECRET_KEY=sb_secret_… ccm supabase init --url https://REF.supabase.co --system team',
            'ccm supabase init --print >migrations.sql',
          ],
        )
          .option('--url <url>', 'URL of the project')
          .option(
            '--secret-key <key>',
            'secret key; the variable CCM__SUPABASE__SECRET_KEY keeps it out of `ps`',
          )
          .option('--system <name>', 'name of the fleet; default: default')
          .option('--db-url <url>', 'connection string: brings the tables up to date first (or CCM_DB_URL)')
          .option('--print', 'print the migrations as SQL and do nothing else')
          .action(async (options: InitOptions) => {
            done((await initSupabase(context, options)) ? EXIT.ok : EXIT.failed)
          }),
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
            const { applied, before } = await migratePostgres(url, readPostgresMigrations(migrationsFolder()))
            if (options.json) printJson(context, { applied, before })
            else if (applied.length === 0) context.stdout.write('The database is up to date.\n')
            else context.stdout.write(`Applied ${applied.join(', ')}.\n`)
            done(EXIT.ok)
          }),
      ],
    },
  )
