import { createHash } from 'node:crypto'
import { type Dirent, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FileChange } from '../core/task/task.ts'

/** One file: path inside the directory, bytes, time of the last change, SHA-1 of small ones. */
export type ListedFile = [path: string, size: number, mtimeMs: number, sha1: string | null]

/** Folders that are never listed: git's own, and the one that alone can hold 100,000 files. */
const SKIPPED = new Set(['.git', 'node_modules'])
const HASH_MAX_BYTES = 1024 * 1024
/** All hashed bytes of one listing together; about 0.2 s of work. */
const HASH_ALL_MAX_BYTES = 64 * 1024 * 1024

/** Synchronous calls are many times cheaper than their promises; the event loop gets its turn between slices. */
const SLICE_MS = 5

/** How far a listing may go before it gives up. */
export type ListingLimits = { files: number; ms: number; signal?: AbortSignal | undefined }

/**
 * All files below `dir`, sorted by path, or why there is no list, as a sentence. It cannot see: changes inside
 * `.git` and `node_modules`, in folders it may not read, of modes, and of large files that keep size and time.
 */
export async function listDirectory(dir: string, limits: ListingLimits): Promise<ListedFile[] | string> {
  if (limits.signal?.aborted) return 'The listing was cancelled.'
  const startedAt = performance.now()
  const files: ListedFile[] = []
  const folders = ['']
  let hashed = 0
  let sliceEndsAt = startedAt + SLICE_MS
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of entriesOf(join(dir, folder))) {
      const now = performance.now()
      if (now - startedAt > limits.ms) return `Listing the files took more than ${limits.ms} ms.`
      if (now > sliceEndsAt) {
        await nextTurn()
        if (limits.signal?.aborted) return 'The listing was cancelled.'
        sliceEndsAt = performance.now() + SLICE_MS
      }
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) {
        if (!SKIPPED.has(entry.name)) folders.push(path)
        continue
      }
      if (!entry.isFile() && !entry.isSymbolicLink()) continue
      if (files.length >= limits.files) return `There are more than ${limits.files} files.`
      const stats = lstatSync(join(dir, path), { throwIfNoEntry: false })
      if (stats === undefined) continue
      const small = stats.size <= HASH_MAX_BYTES && hashed + stats.size <= HASH_ALL_MAX_BYTES
      if (small) hashed += stats.size
      const sha1 = small ? hashOf(join(dir, path), entry.isSymbolicLink()) : null
      files.push([path, stats.size, Math.floor(stats.mtimeMs), sha1])
    }
  }
  return files.sort(([a], [b]) => (a < b ? -1 : 1))
}

/** What differs between two listings; line counts are unknown, for the old contents are gone. */
export function compareListings(before: readonly ListedFile[], after: readonly ListedFile[]): FileChange[] {
  const old = new Map(before.map((file) => [file[0], file]))
  const changes: FileChange[] = []
  for (const [path, size, mtimeMs, sha1] of after) {
    const was = old.get(path)
    old.delete(path)
    const same =
      was !== undefined &&
      was[1] === size &&
      (was[3] !== null && sha1 !== null ? was[3] === sha1 : was[2] === mtimeMs)
    if (!same) {
      changes.push({ path, change: was === undefined ? 'added' : 'modified', added: null, removed: null })
    }
  }
  for (const path of old.keys()) changes.push({ path, change: 'deleted', added: null, removed: null })
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1))
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
}

function hashOf(path: string, isLink: boolean): string | null {
  try {
    const content = isLink ? readlinkSync(path) : readFileSync(path)
    return createHash('sha1').update(content).digest('hex')
  } catch {
    return null
  }
}
