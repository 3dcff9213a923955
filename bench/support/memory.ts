import { readFileSync } from 'node:fs'

/** Megabytes of a process: `Pss` shares what others have mapped too, `Pss_Anon` is its own alone. */
export function memoryMb(pid: number, what: 'Pss' | 'Pss_Anon'): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024
}
