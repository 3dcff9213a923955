/**
 * Sends a signal to one process. Throws for anything that is not the pid of one: to the kernel 0 means the
 * sender's own group and -1 every process, and a pid that a test failed to find must never mean that.
 */
export function signal(pid: number | null | undefined, name: NodeJS.Signals): void {
  if (!Number.isInteger(pid) || pid === null || pid === undefined || pid <= 1)
    throw new Error(`${String(pid)} is no process of a test`)
  process.kill(pid, name)
}

/** The same to a whole group, by the pid of its first process. */
export function signalGroup(pid: number | null | undefined, name: NodeJS.Signals): void {
  if (!Number.isInteger(pid) || pid === null || pid === undefined || pid <= 1)
    throw new Error(`${String(pid)} is no process of a test`)
  process.kill(-pid, name)
}
