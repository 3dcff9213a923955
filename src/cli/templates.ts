import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { CcmError } from '../core/errors.ts'
import type { StatusJson } from '../protocol/daemon.ts'
import type { TemplateBody, TemplateJson } from '../protocol/template.ts'
import { printJson, type CliContext, type DefineCommand } from './context.ts'
import { showDuration } from './duration.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { createCommand } from './parse.ts'
import { oneLine, printable } from './printable.ts'
import { readAll } from './read-all.ts'
import { table } from './task-view.ts'
import { createPaint, type Paint } from './terminal.ts'

type Options = { json?: boolean }

/** `ccm templates`: tasks that only lack their variables. */
export const templatesCommand: DefineCommand = (context, done) => {
  const list = async (options: Options) => {
    const { api } = await context.daemon({ start: true })
    const templates = await api.templates()
    if (options.json) printJson(context, templates)
    else {
      const paint = createPaint(context.stdout, context.env)
      const rows = templates.map(({ name, stored_in, variables, description, prompt }) => [
        name,
        stored_in,
        Object.keys(variables).join(', '),
        oneLine(description === '' ? prompt : description),
      ])
      const lines =
        rows.length === 0
          ? ['No templates. Add one: ccm templates add NAME "PROMPT", or templates/NAME.md beside ccm.toml.']
          : table(['NAME', 'IN', 'VARIABLES', 'ABOUT'], rows, paint, context.stdout)
      context.stdout.write(`${[...lines, ...sharedLines((await api.status()).shared, paint)].join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  return createGroup(
    'templates',
    'List, show, add and remove task templates.',
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
        addCommand(context, done),
        createCommand('remove', 'Remove a template from the database.', ['ccm templates remove review'])
          .argument('<name>', 'the name of the template')
          .action(async (name: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            report(context, options, await api.removeTemplate(name), 'Removed')
            done(EXIT.ok)
          }),
      ],
    },
  )
}

/** What is to be known of the templates in Supabase beside those that count. */
function sharedLines(shared: StatusJson['shared'], paint: Paint): string[] {
  if (shared === null) return []
  const { read_at, faults } = shared.templates
  const age =
    read_at === null ? 'its templates were never read here' : `its templates are those of ${read_at}`
  return [
    ...(shared.supabase === 'ok' ? [] : ['', `Supabase does not answer: ${age}.`]),
    ...(faults.length === 0 ? [] : ['', paint.bold('Not usable in Supabase')]),
    ...faults.map((fault) => `  ${oneLine(fault, 500)}`),
  ]
}

/** The prompt alone, or a whole template as `show --json` prints it: of both every fault is told by the daemon. */
function addCommand(...[context, done]: Parameters<DefineCommand>): Command {
  return createCommand('add', 'Add a template to the database.', [
    'ccm templates add greet "Say hello to {{who}}." --var who',
    'ccm templates show review --json | ccm templates add review-2 --from -',
  ])
    .argument('<name>', 'the name of the template')
    .argument('[prompt]', 'its prompt, with {{variables}}')
    .option('--about <text>', 'what it is for')
    .option('--var <name...>', 'a variable of the prompt, a text that is needed')
    .option('--from <file>', 'the whole template as JSON; - reads it from standard input')
    .option('--replace', 'also where there is one of this name')
    .action(async (name: string, prompt: string | undefined, options: AddOptions) => {
      if ((prompt === undefined) === (options.from === undefined))
        throw new CcmError('BAD_INPUT', 'Give the prompt, or the whole template with --from.')
      const template =
        prompt === undefined ? await readTemplate(context, options.from ?? '-') : templateOf(prompt, options)
      const { api } = await context.daemon({ start: true })
      const added =
        options.replace === true
          ? await api.putTemplate(name, template)
          : await api.addTemplate({ ...template, name })
      report(context, options, added, 'Added')
      done(EXIT.ok)
    })
}

type AddOptions = Options & { about?: string; var?: string[]; from?: string; replace?: boolean }

function templateOf(prompt: string, { about, var: variables = [] }: AddOptions): TemplateBody {
  return {
    prompt,
    ...(about !== undefined && { description: about }),
    variables: Object.fromEntries(variables.map((name) => [name, {}])),
  }
}

async function readTemplate(context: CliContext, file: string): Promise<TemplateBody> {
  const text = file === '-' ? await readAll(context.stdin) : await readFile(file, 'utf8').catch(() => null)
  if (text === null) throw new CcmError('BAD_INPUT', `The file ${oneLine(file, 200)} cannot be read.`)
  try {
    const {
      name: _name,
      stored_in: _storedIn,
      hides: _hides,
      ...template
    } = JSON.parse(text) as Partial<TemplateJson>
    return template as TemplateBody
  } catch {
    throw new CcmError('BAD_INPUT', `${file === '-' ? 'Standard input' : oneLine(file, 200)} is no JSON.`)
  }
}

function report(context: CliContext, { json }: Options, template: TemplateJson, done: string): void {
  if (json) printJson(context, template)
  else context.stdout.write(`${done}: ${template.name}\n`)
}

function linesOf(template: TemplateJson, paint: Paint): string[] {
  const row = (label: string, value: string | null) =>
    value === null || value === '' ? [] : [`  ${paint.dim(label.padEnd(10))}${oneLine(value, 500)}`]
  const { timeout_s, max_tokens, max_cost_usd } = template
  const variables = Object.entries(template.variables)
  return [
    paint.bold(template.name),
    ...row('in', [template.stored_in, ...template.hides.map((place) => `hides that of ${place}`)].join(', ')),
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
