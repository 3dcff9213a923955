import { lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Lease } from '../core/task/queue.ts'

/**
 * Where the hook script counts events it cannot write, the first that takes a byte: beside the spool, else in a
 * folder for temporary files, which is often another disk.
 */
export function lostFilesOf(attempt: Lease & { folder: string }, temporary: string): string[] {
  const name = `${attempt.taskId}.${attempt.attempt}`
  return [join(attempt.folder, 'lost'), join(temporary, `ccm-lost-${process.getuid?.() ?? 'user'}`, name)]
}

/**
 * Makes them and answers those that the script may be given. One byte each from the start: the block it stands in
 * takes 4000 more when the disk is full. Anybody may write in a folder for temporary files, so there only a
 * folder that nobody else can use is taken.
 */
export function makeLostFiles(files: string[]): string[] {
  return files.filter((file, index) => {
    try {
      const folder = join(file, '..')
      if (index > 0) {
        mkdirSync(folder, { recursive: true, mode: 0o700 })
        const { uid, mode } = lstatSync(folder)
        if (!lstatSync(folder).isDirectory() || uid !== process.getuid?.() || (mode & 0o077) !== 0)
          return false
      }
      writeFileSync(file, '\n', { mode: 0o600, flag: 'wx' })
      return true
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EEXIST'
    }
  })
}
