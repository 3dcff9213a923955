import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createFleet, eventually, isAlive } from './fleet.ts'

// Programs that read what agents draw and say, each with a fault that one task brings out: it throws.
vi.mock('../../src/core/screen/screen.ts', async (original) => {
  const real = await original<typeof import('../../src/core/screen/screen.ts')>()
  const readScreen: typeof real.readScreen = (text, dead) => {
    if (text.includes('POISON')) throw new Error('the screen cannot be read')
    return real.readScreen(text, dead)
  }
  return { ...real, readScreen }
})
vi.mock('../../src/core/agent/watch.ts', async (original) => {
  const real = await original<typeof import('../../src/core/agent/watch.ts')>()
  const onHook: typeof real.onHook = (before, payload, at) => {
    if (payload['prompt'] === 'VENOM') throw new Error('the hook cannot be understood')
    return real.onHook(before, payload, at)
  }
  return { ...real, onHook }
})

/** The agent of these tests draws POISON, or reports a prompt VENOM, when its own prompt holds the word. */
function letPoison(file: string): void {
  const text = readFileSync(file, 'utf8')
    .replace(
      'while [ $# -gt 0 ]',
      'case "$*" in *POISON*) echo POISON ;; esac\nprompt=x\ncase "$*" in *VENOM*) prompt=VENOM ;; esac\nwhile [ $# -gt 0 ]',
    )
    .replace('"prompt":"x"\'', '"prompt":"\'$prompt\'"\'')
  writeFileSync(file, text)
  chmodSync(file, 0o755)
}

test.each(['POISON', 'VENOM'])(
  'a task whose %s crashes the reader harms no other task, and ends when its time is up',
  { timeout: 60_000 },
  async (word) => {
    await using fleet = await createFleet()
    letPoison(join(fleet.folder, 'claude'))
    const { settings } = fleet.deps
    const deadlines = { ...settings.deadlines, totalMs: 12_000 }
    const deps = { ...fleet.deps, settings: { ...settings, deadlines } }
    const first = createSupervisor(deps)
    await first.begin()
    const poison = await fleet.add(`Do ${word}`, 'poisoned')
    const agent = await fleet.agentOf(poison)
    // Nor does it keep the next daemon from its start.
    await first.close('keep')
    const supervisor = createSupervisor(deps)
    await supervisor.begin()
    const good = await fleet.add('Do it', 'good')
    await fleet.agentOf(good)
    fleet.letGo(good)
    await eventually(async () => (await fleet.queue.get(good))?.status === 'succeeded')
    const over = await eventually(async () => {
      const task = await fleet.queue.get(poison)
      return task?.status === 'failed' && task
    }, 30_000)
    expect(over).toMatchObject({ attempt: 1, error: expect.stringMatching(/longer than 12 s/) })
    expect(isAlive(agent)).toBe(false)
    await supervisor.close('end')
  },
)
