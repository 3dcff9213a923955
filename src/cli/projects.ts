import { PROJECT_SETTING_NAMES, type ProjectJson } from '../protocol/project.ts'
import { printJson, type CliContext, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createGroup } from './group.ts'
import { collect, createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { addProjectCommand } from './project-add.ts'
import { readChanges, settingsHelp, showSetting } from './project-settings.ts'
import { rulesCommand } from './rules.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

type Options = { json?: boolean }

/** `ccm projects`: the directories agents may work in, and what they set for their tasks. */
export const projectsCommand: DefineCommand = (context, done) => {
  const list = async (options: Options) => {
    const { api } = await context.daemon({ start: true })
    const projects = await api.projects()
    if (options.json) printJson(context, projects)
    else if (projects.length === 0) context.stdout.write('No projects. Add one: ccm projects add DIR\n')
    else {
      const rows = projects.map((project) => [
        project.name,
        project.trusted ? 'yes' : 'no',
        project.paused ? 'paused' : '',
        oneLine(project.dir),
      ])
      const paint = createPaint(context.stdout, context.env)
      const header = ['NAME', 'TRUSTED', 'PAUSED', 'DIRECTORY']
      context.stdout.write(`${table(header, rows, paint, context.stdout).join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  return createGroup(
    'projects',
    'List, add, set and trust the directories agents may work in.',
    ['ccm projects add ~/code/app --trust', 'ccm projects set app max_running=2 setup="npm ci"'],
    {
      alone: list,
      subcommands: [
        createCommand('list', 'List the projects.', ['ccm projects list --json']).action(list),
        addProjectCommand(context, done),
        rulesCommand(context, done),
        createCommand('show', 'Show a project and what it sets for its tasks.', ['ccm projects show app'])
          .argument('<name>', 'the name of the project')
          .action(async (name: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            printProject(context, await api.project(name), options)
            done(EXIT.ok)
          }),
        createCommand('set', 'Change what a project sets for its tasks; all of it or, at a fault, nothing.', [
          'ccm projects set app max_running=2 timeout_s=1h model=sonnet',
          'ccm projects set app setup="npm ci" copy+=.env allowed_tools-="Bash(git push:*)"',
          'ccm projects set app --unset model --unset max_running',
        ])
          .argument('<name>', 'the name of the project')
          .argument('[key=value...]', 'settings; += and -= add to and take from a list')
          .option('--unset <key>', 'back to the default; may be repeated', collect)
          .addHelpText('after', `\nSettings:\n  ${settingsHelp().join('\n  ')}`)
          .action(async (name: string, assignments: string[], options: Options & { unset?: string[] }) => {
            const { api } = await context.daemon({ start: true })
            const changes = readChanges(assignments, options.unset ?? [], await api.project(name))
            printProject(context, await api.updateProject(name, changes), options)
            done(EXIT.ok)
          }),
        createCommand('remove', 'Forget a project; its directory and its finished tasks stay.', [
          'ccm projects remove app',
        ])
          .argument('<name>', 'the name of the project')
          .action(async (name: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            const project = await api.removeProject(name)
            if (options.json) printJson(context, project)
            else {
              context.stdout.write(
                `Project ${project.name} is forgotten. These stay: ${oneLine(project.dir)} with its branches, and the finished tasks (ccm tasks).\n`,
              )
            }
            done(EXIT.ok)
          }),
        createCommand('trust', 'Trust a project: its own hooks, servers and settings may run.', [
          'ccm projects trust app',
        ])
          .argument('<name>', 'the name of the project')
          .action(async (name: string, options: Options) => {
            const { api } = await context.daemon({ start: true })
            const project = await api.trustProject(name)
            if (options.json) printJson(context, project)
            else context.stdout.write(`Project ${project.name} is trusted: ${oneLine(project.dir)}\n`)
            done(EXIT.ok)
          }),
      ],
    },
  )
}

function printProject(context: CliContext, project: ProjectJson, options: Options): void {
  if (options.json) return printJson(context, project)
  const paint = createPaint(context.stdout, context.env)
  const trust = project.trusted ? 'trusted' : `not trusted yet: ccm projects trust ${project.name}`
  const lines = [`${paint.bold(project.name)}  ${oneLine(project.dir)}  (${trust})`]
  for (const name of PROJECT_SETTING_NAMES) {
    const value = showSetting(name, project)
    if (value !== null) lines.push(`  ${paint.dim(name.padEnd(21))} ${value}`)
  }
  const told = project.told ? [] : ['  Supabase does not know of this yet: it is told when it answers.']
  if (lines.length === 1) lines.push(paint.dim('  Nothing set. See: ccm projects set --help'))
  context.stdout.write(`${[...lines, ...told].join('\n')}\n`)
}
