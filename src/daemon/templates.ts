import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { isRestricted } from '../core/task/restricted.ts'
import { templatesOf, templateWithin, type Template } from '../core/task/template.ts'
import type { AppDeps } from '../http/deps.ts'
import type { Project, Projects } from '../store/projects.ts'
import type { StoredTemplates } from '../store/templates.ts'
import { usableDirectory } from '../supervisor/workspaces/intake.ts'
import type { RightsLimit } from '../supervisor/shared/shared-queue.ts'

/** The one lookup of templates: of the configuration, the database and Supabase, each with the rights it may give. */
export function createTemplates(deps: {
  config: Pick<Config, 'templates' | 'outside'>
  stored: StoredTemplates
  /** Those in Supabase; null: there is none. */
  shared: (() => Promise<readonly Template[]>) | null
  projects: Pick<Projects, 'byName' | 'byDir'>
  /** What tasks of a project may do at most; null: of one that is new. */
  limitOf: (project: Project | null) => RightsLimit
}): AppDeps['templates'] {
  const { config, stored, projects } = deps
  const { outside } = config

  const list = async () =>
    templatesOf({
      file: config.templates,
      database: stored.list(),
      supabase: (await deps.shared?.()) ?? [],
    })

  function projectOf({ name, dir }: { name: string | null; dir: string | null }): Project | null {
    if (dir !== null) return projects.byDir(usableDirectory(dir))
    return name === null ? null : projects.byName(name)
  }

  return {
    stored,
    list,
    within(template, place, source) {
      const project = deps.limitOf(projectOf(place))
      return templateWithin(template, isRestricted({ source }), { project, outside })
    },
    async forOutside(name, plain) {
      if (name === null || name === '') return { template: plain, missing: null }
      const found = (await list()).find((template) => template.name === name)
      if (found === undefined) return { template: plain, missing: `There is no template ${name} now.` }
      // Whatever its project may do: a task from outside is always restricted.
      return { template: templateWithin(found, true, { project: outside, outside }), missing: null }
    },
  }
}

/** Warns of each template that the configuration names for requests from outside and that is nowhere. */
export async function tellMissingTemplates(
  { github, alertmanager, telegram }: Pick<Config, 'github' | 'alertmanager' | 'telegram'>,
  templates: Pick<AppDeps['templates'], 'list'>,
  logger: Logger,
): Promise<void> {
  const known = new Set((await templates.list()).map(({ name }) => name))
  const used = {
    github: github.rules.map(({ template }) => template ?? ''),
    alertmanager: alertmanager.rules.map(({ template }) => template ?? ''),
    telegram: [telegram.template],
  }
  for (const [section, names] of Object.entries(used))
    for (const name of new Set(names))
      if (name !== '' && !known.has(name))
        logger.warn(
          { code: 'BAD_TEMPLATE' },
          `[${section}] names the template ${name}, which does not exist.`,
        )
}
