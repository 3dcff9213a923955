import type { Command } from 'commander'
import { CcmError } from '../core/errors.ts'
import { nearestName } from '../protocol/faults.ts'
import { printJson, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine } from './printable.ts'
import { realDir } from './run.ts'
import { table } from './task-view.ts'
import { createPaint } from './terminal.ts'

/** `ccm projects`: the directories agents may work in. */
export const projectsCommand: DefineCommand = (context, done) => {
  const list = async (options: { json?: boolean }) => {
    const { api } = await context.daemon({ start: true })
    const projects = await api.projects()
    if (options.json) printJson(context, projects)
    else if (projects.length === 0) context.stdout.write('No projects. Add one: ccm projects add DIR\n')
    else {
      const rows = projects.map(({ name, trusted, dir }) => [name, trusted ? 'yes' : 'no', oneLine(dir)])
      const paint = createPaint(context.stdout, context.env)
      context.stdout.write(`${table(['NAME', 'TRUSTED', 'DIRECTORY'], rows, paint).join('\n')}\n`)
    }
    done(EXIT.ok)
  }
  const projects = createCommand('projects', 'List, add and trust the directories agents may work in.', [
    'ccm projects add ~/code/app --trust',
    'ccm projects trust app',
  ])
    .allowExcessArguments(true)
    .action(async (options: { json?: boolean }, command: Command) => {
      const [word] = command.args
      if (word === undefined) return list(options)
      const near = nearestName(word, ['list', 'add', 'trust'])
      const hint = near === null ? '.' : `; did you mean "projects ${near}"?`
      throw new CcmError('BAD_INPUT', `There is no command "projects ${oneLine(word, 40)}"${hint}`, {
        remedy: 'See: ccm projects --help',
      })
    })
    // What follows the name of a subcommand belongs to that subcommand.
    .enablePositionalOptions()

  projects.addCommand(createCommand('list', 'List the projects.', ['ccm projects list --json']).action(list))
  projects.addCommand(
    createCommand('add', 'Register a directory. That alone does not trust it.', [
      'ccm projects add ~/code/app --trust',
    ])
      .argument('<dir>', 'the directory')
      .option('--name <name>', "its name (default: the folder's)")
      .option('--trust', 'trust it: its own hooks, servers and settings may run')
      .action(async (dir: string, options: { name?: string; trust?: boolean; json?: boolean }) => {
        const { api } = await context.daemon({ start: true })
        const { name, trust } = options
        const project = await api.addProject({
          dir: realDir(context.cwd, dir),
          ...(name !== undefined && { name }),
          ...(trust === true && { trust }),
        })
        if (options.json) printJson(context, project)
        else {
          const hint = project.trusted ? 'trusted' : `not trusted yet: ccm projects trust ${project.name}`
          context.stdout.write(`Project ${project.name}: ${oneLine(project.dir)} (${hint})\n`)
        }
        done(EXIT.ok)
      }),
  )
  projects.addCommand(
    createCommand('trust', 'Trust a project: its own hooks, servers and settings may run.', [
      'ccm projects trust app',
    ])
      .argument('<name>', 'the name of the project')
      .action(async (name: string, options: { json?: boolean }) => {
        const { api } = await context.daemon({ start: true })
        const project = await api.trustProject(name)
        if (options.json) printJson(context, project)
        else context.stdout.write(`Project ${project.name} is trusted: ${oneLine(project.dir)}\n`)
        done(EXIT.ok)
      }),
  )
  return projects
}
