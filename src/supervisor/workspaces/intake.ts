import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, isAbsolute } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { CcmError } from '../../core/errors.ts'
import { defaultProjectSettings } from '../../core/task/project.ts'
import type { Project, Projects } from '../../store/projects.ts'

/**
 * The real path of a directory that agents may work in. Throws DIR_UNUSABLE with a sentence for a missing,
 * unreadable or unsuitable one, and for `/` and the home folder, where an agent could touch everything.
 */
export function usableDirectory(dir: string): string {
  const shown = JSON.stringify(dir)
  if (!isAbsolute(dir)) throw unusable(`${shown} is not an absolute path.`)
  let real: string
  try {
    real = realpathSync(dir)
    if (!statSync(real).isDirectory()) throw unusable(`${shown} is a file, not a directory.`)
    accessSync(real, constants.R_OK | constants.X_OK)
  } catch (error) {
    if (error instanceof CcmError) throw error
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') throw unusable(`There is no directory ${shown}.`)
    throw unusable(`The directory ${shown} cannot be read (${code ?? 'unknown error'}).`)
  }
  if (real === '/' || real === realHome()) {
    throw unusable(
      `${shown} is ${real === '/' ? 'the root of the file system' : 'your home folder'}: an agent there could change everything.`,
    )
  }
  return real
}

/** The project of a directory; a new one is registered under the folder's name, untrusted. */
export function projectOf(
  projects: Projects,
  clock: Clock,
  wanted: { dir: string | null; name: string | null; trust: boolean },
): Project {
  if (wanted.dir === null) {
    const found = wanted.name === null ? null : projects.byName(wanted.name)
    if (found === null) {
      throw new CcmError('NOT_FOUND', `There is no project ${JSON.stringify(wanted.name)}.`, {
        remedy: 'See `ccm projects list`, or register it: ccm projects add DIR.',
      })
    }
    usableDirectory(found.dir)
    return trusted(projects, found, wanted.trust)
  }
  const dir = usableDirectory(wanted.dir)
  const known = projects.byDir(dir)
  if (known !== null) {
    if (wanted.name !== null && wanted.name !== known.name) {
      throw new CcmError(
        'CONFLICT',
        `${JSON.stringify(dir)} is the project ${known.name}, not ${wanted.name}.`,
      )
    }
    return trusted(projects, known, wanted.trust)
  }
  const project: Project = {
    name: wanted.name ?? freeName(projects, dir),
    dir,
    trusted: wanted.trust,
    createdAt: clock(),
    ...defaultProjectSettings(),
  }
  projects.add(project)
  return project
}

function trusted(projects: Projects, project: Project, trust: boolean): Project {
  if (!trust || project.trusted) return project
  projects.setTrusted(project.name, true)
  return { ...project, trusted: true }
}

/** A name of `[a-z0-9-]`, because it becomes part of window and branch names. */
function freeName(projects: Projects, dir: string): string {
  const base =
    basename(dir)
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .replaceAll(/^-+|-+$/g, '')
      .slice(0, 30) || 'project'
  for (let number = 1; ; number++) {
    const name = number === 1 ? base : `${base}-${number}`
    if (projects.byName(name) === null) return name
  }
}

function realHome(): string {
  try {
    return realpathSync(homedir())
  } catch {
    return homedir()
  }
}

function unusable(message: string): CcmError {
  return new CcmError('DIR_UNUSABLE', message, { remedy: 'Name the directory of a project.' })
}
