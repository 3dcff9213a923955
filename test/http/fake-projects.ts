import { CcmError } from '../../src/core/errors.ts'
import { defaultProjectSettings } from '../../src/core/task/project.ts'
import type { AppDeps, Project } from '../../src/http/deps.ts'

/** A project as the fakes have it. */
export function fakeProject(name: string, dir: string, more: Partial<Project> = {}): Project {
  return { name, dir, trusted: false, createdAt: 0, ...defaultProjectSettings(), ...more }
}

/** The projects of a fake daemon: an untrusted `app`; `busy` always has living tasks. */
export function createFakeProjects(note: (...call: unknown[]) => void = () => {}): AppDeps['projects'] {
  const projects = new Map([['app', fakeProject('app', '/code/app')]])
  const change = (name: string, changes: Partial<Project>) => {
    const before = projects.get(name)
    if (before === undefined) return null
    projects.set(name, { ...before, ...changes })
    return { ...before, ...changes }
  }
  return {
    list: async () => [...projects.values()],
    isTold: () => true,
    async add({ dir, name, trust }) {
      note('addProject', dir, name, trust)
      const project = fakeProject(name ?? dir.split('/').at(-1) ?? 'app', dir, { trusted: trust })
      projects.set(project.name, project)
      return project
    },
    async update(name, changes) {
      note('updateProject', name, changes)
      return change(name, changes)
    },
    async remove(name) {
      if (name === 'busy') throw new CcmError('CONFLICT', 'The project busy has 1 living task.')
      note('removeProject', name)
      const before = projects.get(name) ?? null
      projects.delete(name)
      return before
    },
    async trust(name) {
      note('trust', name)
      return change(name, { trusted: true })
    },
  }
}
