import { writeFileSync } from 'node:fs'
import { readOfProcess } from './proc.ts'

/** Name of the systemd scope of an attempt; processes are recognised by it whatever became of their parents. */
export function scopeName({ taskId, attempt }: { taskId: string; attempt: number }): string {
  return `ccm-agent-${taskId}-${attempt}.scope`
}

/**
 * The control group of that name that a process is in, as its path below the hierarchy's root; null when it is in
 * none. A child cannot leave it without rights over control groups, whatever it does to its session or parent.
 * Throws where that cannot be read (EMFILE, say).
 */
export function scopePathOf(pid: number, name: string): string | null {
  for (const line of readOfProcess(pid, 'cgroup').split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1)
    const end = `${path}/`.indexOf(`/${name}/`)
    if (end !== -1) return path.slice(0, end + 1 + name.length)
  }
  return null
}

/** Kills everything in a control group in one step, also what forks meanwhile; false where the kernel has no such file. */
export function killScope(path: string): boolean {
  for (const root of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) {
    try {
      // Without O_CREAT: a group that is gone must not become a file.
      writeFileSync(`${root}${path}/cgroup.kill`, '1', { flag: 'r+' })
      return true
    } catch {
      // Another layout, an older kernel, or gone.
    }
  }
  return false
}
