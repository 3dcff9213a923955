import { closeSync, fsyncSync, openSync } from 'node:fs'

/** What was renamed in this folder survives a power cut from here on. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
