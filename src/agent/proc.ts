import { readFileSync } from 'node:fs'

/** Of a process that is gone, or of another user. */
const NOT_OURS = ['ENOENT', 'ESRCH', 'EACCES', 'EPERM']

/**
 * A file of a process in /proc, a character a byte; '' where the process is gone or another user's. Throws where it
 * could not be read for another reason (EMFILE, ENOMEM): then nothing is known of the process.
 */
export function readOfProcess(pid: number, file: 'stat' | 'environ' | 'cgroup'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch (error) {
    if (NOT_OURS.includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}
