import { existsSync } from 'node:fs'

/** Why an agent is gone when its scope ran out of memory, by what its start script left; null: for another reason. */
export function memoryCause(oomFile: string): string | null {
  if (!existsSync(oomFile)) return null
  return 'The kernel ended it: its processes took all the memory of its scope ([scope] memory_max).'
}
