import { readFileSync } from 'node:fs'

/** The kernel counts the CPU of ended children in ticks of 10 ms on every Linux that we know. */
const TICK_MS = 10

/**
 * CPU that this process, its ended children and the processes `pids` have used so far, user and system, in
 * milliseconds. Differences count; with children make them over 100 ms or more, because of the ticks.
 */
export function cpuMs(pids: readonly number[]): number {
  const own = process.cpuUsage()
  const children = ticksOf('self', 13) * TICK_MS
  return (own.user + own.system) / 1000 + children + pids.reduce((sum, pid) => sum + cpuMsOf(pid), 0)
}

/** CPU of one process of one thread, as tmux is, without its children: in nanoseconds where the kernel tells. */
export function cpuMsOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6
  } catch {
    return ticksOf(String(pid), 11) * TICK_MS
  }
}

/** The two fields at `index` and after it in `/proc/PID/stat`, counted after the program's name. */
function ticksOf(pid: string, index: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[index]) + Number(fields[index + 1])
}
