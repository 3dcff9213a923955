import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'vitest'
import { readHang } from '../../src/supervisor/loops/watchdog.ts'

/** How long the program's loops may be silent. */
export const LIMIT_MS = 1500

/** The program that hangs, from the moment it said so. */
export function hang(way: string, { onTestFinished }: Pick<TestContext, 'onTestFinished'>) {
  const folder = mkdtempSync(join(tmpdir(), 'ccm-hang-'))
  const reportFile = join(folder, 'hang.json')
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'hang.ts'), way, reportFile, String(LIMIT_MS)],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  const output = { stdout: '', stderr: '' }
  let hungAt = 0
  child.stdout.on('data', (chunk: Buffer) => {
    output.stdout += String(chunk)
    if (hungAt === 0 && output.stdout.includes('hangs')) hungAt = performance.now()
  })
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += String(chunk)))
  const ended = new Promise<{ signal: string | null; afterMs: number }>((resolve) =>
    child.on('close', (_, signal) => resolve({ signal, afterMs: performance.now() - hungAt })),
  )
  onTestFinished(() => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  return { child, output, ended, report: () => readHang(reportFile) }
}
