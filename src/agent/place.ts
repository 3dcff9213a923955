import { lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { Place } from '../core/permission/permission-rule.ts'

/** Links that lead to each other for ever end here, as in the kernel. */
const LINKS_MAX = 40

/**
 * Where a tool's path leads, for the rules about it; null when that cannot be told. What does not exist yet is
 * placed by the nearest folder that does, and a link that leads nowhere yet by where it will lead.
 */
export function placeOf(path: string, dir: string, home: string): Place | null {
  const written = resolve(
    dir,
    path.replace(/^~(?=\/|$)/, () => home),
  )
  try {
    return { path: written, realPath: realPathOf(written, 0), dir, realDir: realpathSync(dir), home }
  } catch {
    return null
  }
}

function realPathOf(path: string, links: number): string {
  if (links > LINKS_MAX) throw new Error('too many links')
  try {
    return realpathSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === '/') throw error
    const parent = realPathOf(dirname(path), links)
    const here = join(parent, basename(path))
    const found = lstatSync(here, { throwIfNoEntry: false })
    return found?.isSymbolicLink() === true
      ? realPathOf(resolve(parent, readlinkSync(here)), links + 1)
      : here
  }
}
