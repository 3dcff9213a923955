import { cp, glob, lstat, mkdir, realpath, symlink } from 'node:fs/promises'
import { dirname, isAbsolute, join, sep } from 'node:path'
import { messageOf } from '../core/errors.ts'

/** More is no list of files to carry along but a folder, which one pattern names as a whole. */
const MATCHES_MAX = 1000

/**
 * Brings files of the project that git does not have into a new tree: copies, or links to the project's own.
 * Answers the paths that it placed, relative to `to`, and a sentence for each pattern that it could not follow.
 * A file that is there stays as it is. Nothing outside the project is read, and nothing outside the tree is
 * written, whatever links say.
 */
export async function bringFiles(options: {
  from: string
  to: string
  copy: readonly string[]
  link: readonly string[]
}): Promise<{ placed: string[]; notes: string[] }> {
  const { from, to, copy, link } = options
  const placed: string[] = []
  const notes: string[] = []
  for (const [how, patterns] of [
    ['copy', copy],
    ['link', link],
  ] as const) {
    for (const pattern of patterns) {
      try {
        for (const path of await matches(from, pattern)) {
          if (await bring(how, from, to, path)) placed.push(path)
        }
      } catch (error) {
        notes.push(`${how} ${JSON.stringify(pattern)}: ${messageOf(error)}`)
      }
    }
  }
  return { placed, notes }
}

async function matches(from: string, pattern: string): Promise<string[]> {
  const parts = pattern.split('/')
  if (pattern === '' || pattern.includes('\0') || isAbsolute(pattern) || parts.includes('..')) {
    throw new Error('a pattern names files inside the project, relative to it.')
  }
  const found: string[] = []
  // Git's own folder, and what is below a match, which comes with it.
  const exclude = (path: string) => path.split(sep).includes('.git')
  for await (const path of glob(pattern, { cwd: from, exclude })) {
    if (path === '.' || exclude(path) || found.some((whole) => path.startsWith(whole + sep))) continue
    found.push(path)
    if (found.length > MATCHES_MAX) throw new Error(`it matches more than ${MATCHES_MAX} files.`)
  }
  return found
}

async function bring(how: 'copy' | 'link', from: string, to: string, path: string): Promise<boolean> {
  const source = join(from, path)
  const target = join(to, path)
  await insideOf(from, source)
  if ((await lstat(target).catch(() => null)) !== null) return false
  // A committed link could lead out of the tree: look at what exists before anything is made.
  await insideOf(to, await nearestExisting(dirname(target)))
  await mkdir(dirname(target), { recursive: true })
  await insideOf(to, dirname(target))
  if (how === 'link') {
    await symlink(source, target)
    return true
  }
  await cp(source, target, {
    recursive: true,
    verbatimSymlinks: true,
    preserveTimestamps: true,
    force: false,
    filter: async (entry) => {
      const { name } = { name: entry.slice(entry.lastIndexOf(sep) + 1) }
      if (name === '.git') return false
      const kind = await lstat(entry)
      if (!kind.isSymbolicLink()) return kind.isFile() || kind.isDirectory()
      return insideOf(from, entry).then(
        () => true,
        () => false,
      )
    },
  })
  return true
}

async function nearestExisting(dir: string): Promise<string> {
  for (let at = dir; ; at = dirname(at)) {
    if ((await lstat(at).catch(() => null)) !== null || at === dirname(at)) return at
  }
}

async function insideOf(root: string, path: string): Promise<void> {
  const [top, real] = await Promise.all([realpath(root), realpath(path)])
  if (real !== top && !real.startsWith(top + sep)) throw new Error(`${path} leads out of ${root}.`)
}
