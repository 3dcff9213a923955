import { closeSync, constants, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import type { ProjectJson } from '../protocol/project.ts'
import { printJson, type CliContext, type DefineCommand } from './context.ts'
import { EXIT } from './exit-code.ts'
import { createCommand } from './parse.ts'
import { oneLine, visible } from './printable.ts'
import { realDir } from './run.ts'
import { suggestRules, TELLING_FILES, type SuggestedRule } from './suggest-rules.ts'

const FILE_MAX_BYTES = 256 * 1024

type Options = { name?: string; trust?: boolean; allowSuggested?: boolean; json?: boolean }

/** `ccm projects add`: registers a directory, and offers rules for its own test, lint, build and commit commands. */
export const addProjectCommand: DefineCommand = (context, done) =>
  createCommand('add', 'Register a directory. That alone does not trust it.', [
    'ccm projects add ~/code/app --trust',
    'ccm projects add . --allow-suggested',
  ])
    .argument('<dir>', 'the directory')
    .option('--name <name>', "its name (default: the folder's)")
    .option('--trust', 'trust it: its own hooks, servers and settings may run')
    .option(
      '--allow-suggested',
      'allow its own test, lint, build and commit commands without asking for each',
    )
    .action(async (dir: string, options: Options) => {
      const { api } = await context.daemon({ start: true })
      const { name, trust } = options
      let project = await api.addProject({
        dir: realDir(context.cwd, dir),
        ...(name !== undefined && { name }),
        ...(trust === true && { trust }),
      })
      const say = (text: string) => {
        if (options.json !== true) context.stdout.write(`${text}\n`)
      }
      const hint = project.trusted ? 'trusted' : `not trusted yet: ccm projects trust ${project.name}`
      say(`Project ${project.name}: ${oneLine(project.dir)} (${hint})`)
      if (!project.told) say('Supabase does not answer; it is told of the project when it does.')
      const suggested = suggestedFor(project)
      const rules = await chosenRules(context, suggested, options, project.trusted)
      if (rules.length > 0) {
        const allowed = [...project.allowed_tools, ...rules]
        project = await api.updateProject(project.name, { allowed_tools: allowed })
        say(`Allowed without asking: ${rules.join('  ')}`)
      } else if (suggested.length > 0 && !isPerson(context, options)) {
        say(
          `Its own commands could be allowed without asking: ${suggested.map(({ rule }) => rule).join('  ')}`,
        )
        say(`  All of them: ccm projects add ${oneLine(dir)} --allow-suggested`)
      }
      if (options.json) {
        printJson(context, { ...project, suggested_tools: suggested.map(({ rule }) => rule) })
      }
      done(EXIT.ok)
    })

function suggestedFor(project: ProjectJson): SuggestedRule[] {
  return suggestRules(readTellingFiles(project.dir)).filter(
    ({ rule }) => !project.allowed_tools.includes(rule),
  )
}

async function chosenRules(
  context: CliContext,
  suggested: SuggestedRule[],
  options: Options,
  trusted: boolean,
): Promise<string[]> {
  if (options.allowSuggested) return suggested.map(({ rule }) => rule)
  if (suggested.length === 0 || !isPerson(context, options)) return []
  // Loaded here: no other command asks this way.
  const { confirm, isCancel } = await import('@clack/prompts')
  context.stdout.write('Agents may run these commands of the project without asking, if you say so:\n')
  const chosen: string[] = []
  for (const { rule, command, from } of suggested) {
    const answer = await confirm({
      message: `Allow ${command}?  (${oneLine(visible(from), 80)})`,
      // Enter says yes only where the code was called trusted already.
      initialValue: trusted,
      input: context.stdin,
      output: context.stdout as unknown as Writable,
    })
    // Ctrl-C: what was confirmed so far counts, the rest was never answered.
    if (isCancel(answer)) break
    if (answer) chosen.push(rule)
  }
  return chosen
}

function isPerson(context: CliContext, options: Options): boolean {
  return context.stdin.isTTY === true && context.stdout.isTTY === true && options.json !== true
}

/** The files that tell commands, as text; what is no readable file of a sensible size is there but empty. */
export function readTellingFiles(dir: string): Map<string, string> {
  const files = new Map<string, string>()
  for (const name of TELLING_FILES) {
    const path = join(dir, name)
    if (existsSync(path)) files.set(name, readText(path))
  }
  return files
}

function readText(path: string): string {
  let descriptor: number
  try {
    // A pipe in the place of the file would wait for ever.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    return ''
  }
  try {
    const { size } = fstatSync(descriptor)
    if (!fstatSync(descriptor).isFile() || size > FILE_MAX_BYTES) return ''
    const bytes = Buffer.alloc(size)
    return bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, size, 0))
  } catch {
    return ''
  } finally {
    closeSync(descriptor)
  }
}
