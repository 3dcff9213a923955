import type { TemplateJson } from '../protocol/template.ts'
import { printJson, type DefineCommand } from './context.ts'
import { showDuration } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { createCommand } from './parse.ts'
import { oneLine, printable } from './printable.ts'
import { table } from './task-view.ts'
import { createPaint, type Paint } from './terminal.ts'

type Options = { json?: boolean }

/** `ccm templates`: tasks that only lack their variables. */
export const templatesCommand: DefineCommand = (context, done) => {
  const list = async (options: Options) => {
    const { api } = await context.daemon({ start: true })
    const templates = await api.templates()
    if (options.json) printJson(context, templates)
    else if (templates.length === 0) {
      context.stdout.write(
        'No templates. Add one to ccm.toml as [templates.NAME], or as templates/NAME.md beside it.\n',
      )
    } else {
      const rows = templates.map(({ name, variables, description, prompt }) => [
        name,
        Object.keys(variables).join(', '),
        oneLine(description === '' ? prompt : description),
      ])
      const paint = createPaint(context.stdout, context.env)
      const header = ['NAME', 'VARIABLES', 'ABOUT']
      context.stdout.write(`${table(header, rows, paint, context.stdout).join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  return createGroup(
    'templates',
    'List and show task templates.',
    ['ccm templates', 'ccm run --template review --var branch=fix-parser --dir ~/code/app'],
    {
      alone: list,
      subcommands: [
        createCommand('list', 'List the templates.', ['ccm templates list']).action(list),
        createCommand('show', 'Show a template with its variables.', ['ccm templates show review'])
          .argument('<name>', 'the name of the template')
          .action(async (name: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            const template = await api.template(name)
            if (options.json) printJson(context, template)
            else {
              const paint = createPaint(context.stdout, context.env)
              context.stdout.write(`${linesOf(template, paint).join('\n')}\n`)
            }
            done(EXIT.ok)
          }),
      ],
    },
  )
}

function linesOf(template: TemplateJson, paint: Paint): string[] {
  const row = (label: string, value: string | null) =>
    value === null || value === '' ? [] : [`  ${paint.dim(label.padEnd(10))}${oneLine(value, 500)}`]
  const { timeout_s, max_tokens, max_cost_usd } = template
  const variables = Object.entries(template.variables)
  return [
    paint.bold(template.name),
    ...row('about', template.description),
    ...row('role', template.role),
    ...row('model', template.model),
    ...row('mode', template.permission_mode),
    ...row('allowed', template.allowed_tools.join(', ')),
    ...row('denied', template.disallowed_tools.join(', ')),
    ...row('timeout', timeout_s === null ? null : showDuration(timeout_s * 1000)),
    ...row('tokens', max_tokens === null ? null : String(max_tokens)),
    ...row('cost', max_cost_usd === null ? null : `$${max_cost_usd}`),
    ...row('rights', template.restricted ? 'restricted: those of [outside]' : null),
    ...(variables.length > 0 ? ['', paint.bold('Variables')] : []),
    ...variables.map(([name, { type, required, default: value, choices }]) => {
      const kind = type === 'choice' ? choices.join('|') : type
      const rest = value === null ? (required ? 'needed' : '') : `default ${value}`
      return `  ${name.padEnd(14)}${oneLine(kind, 100)}  ${paint.dim(oneLine(rest, 200))}`
    }),
    '',
    paint.bold('Prompt'),
    ...printable(template.prompt)
      .split('\n')
      .map((line) => `  ${line}`),
  ]
}
