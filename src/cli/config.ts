import { printJson, type CliContext, type ConfigView, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { isSecret } from './secrets.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

type Options = { json?: boolean }

const HIDDEN = '(hidden)'

/** `ccm config`: what is in force, and where each value comes from. */
export const configCommand: DefineCommand = (context, done) => {
  const show = async (options: Options) => {
    const config = await context.config()
    const keys = Object.keys(config.values).sort()
    const rows = keys.map((key) => ({ key, value: valueOf(config, key), origin: originOf(config, key) }))
    if (options.json) {
      printJson(context, { home: config.home, file: config.file, values: rows })
    } else {
      const paint = createPaint(context.stdout, context.env)
      const cells = rows.map(({ key, value, origin }) => [key, oneLine(shown(value), 200), origin])
      const all = [['home', oneLine(config.home), originOf(config, 'home')], ...cells]
      context.stdout.write(`${table(['KEY', 'VALUE', 'FROM'], all, paint).join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  return createGroup(
    'config',
    'Show the settings in force with the origin of each; secrets are hidden.',
    ['ccm config', 'ccm config check && ccm restart'],
    {
      alone: show,
      subcommands: [
        createCommand('show', 'Show the settings in force with the origin of each.', [
          'ccm config show --json',
        ]).action(show),
        createCommand('path', 'Print the file that is read; exit 1 when there is none.', [
          'ccm config path',
        ]).action(async (options: Options) => {
          const { file } = await context.config()
          if (options.json) printJson(context, { file })
          else if (file !== null) context.stdout.write(`${file}\n`)
          else printNone(context)
          done(file === null ? EXIT.failed : EXIT.ok)
        }),
        createCommand('check', 'Check the configuration; exit 78 with every fault.', [
          'ccm config check',
        ]).action(async (options: Options) => {
          const { file } = await context.config()
          if (options.json) printJson(context, { ok: true, file })
          else
            context.stdout.write(
              `The configuration is good: ${file ?? 'no file, only defaults and variables'}\n`,
            )
          done(EXIT.ok)
        }),
      ],
    },
  )
}

function printNone(context: CliContext): void {
  context.stderr.write(
    'ccm: There is no configuration file; defaults and variables are in force.\n     Make one: ~/.config/ccm/ccm.toml, or ccm.toml where you start ccm.\n',
  )
}

function valueOf(config: ConfigView, key: string): unknown {
  const value = config.values[key]
  return isSecret(key, value) ? HIDDEN : value
}

function originOf({ origins }: ConfigView, key: string): string {
  const origin = origins[key] ?? { from: 'default' }
  if (origin.from === 'file') return origin.file
  return origin.from === 'environment' ? origin.variable : 'default'
}

function shown(value: unknown): string {
  if (value === '') return '""'
  return typeof value === 'string' ? value : JSON.stringify(value)
}
