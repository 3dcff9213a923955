import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createStage } from '../e2e/stage.ts'
import { eventually, fakeClaude, isAlive } from './fixture.ts'

const silent = () => ({ kind: 'message', text: '[DONE]' }) as const

test('a claude that ends at once is tried three times, and its last words are the error', async () => {
  const claude = fakeClaude('echo "cannot open the keychain" >&2', 'exit 3')
  await using stage = await createStage(silent, { claude })
  const { id } = await stage.add('Do it')
  const task = await stage.end(id, 90_000)
  expect(task).toMatchObject({ status: 'failed', attempt: 3, agent_state: 'exited' })
  expect(task.error).toBe(
    'Claude Code ended by itself with status 3. Its last lines: cannot open the keychain',
  )
  expect((await stage.ccm(['show', id])).stdout).toContain('cannot open the keychain')
})

test('a claude that prints nothing and does nothing is ended at the start deadline, and tried three times', async () => {
  await using stage = await createStage(silent, {
    claude: fakeClaude('exec sleep 1000'),
    config: '[timeouts]\nstart = "2s"\nexit = "1s"',
  })
  const { id } = await stage.add('Do it')
  const task = await stage.end(id, 90_000)
  expect(task).toMatchObject({ status: 'failed', attempt: 3, agent_state: 'timeout' })
  expect(task.error).toMatch(/2 s|2s/)
  expect(stage.processesOf(id)).toEqual([])
})

test('a claude that prints 200 MB costs neither the daemon nor tmux memory', async () => {
  const claude = fakeClaude(
    // Lines as wide as the window, then one line without an end.
    'yes "$(printf %0199d 7)" | head -c 100000000',
    'head -c 100000000 /dev/zero | tr "\\0" x',
    'echo; echo "that was all"',
    'exec sleep 1000',
  )
  await using stage = await createStage(silent, { claude, config: '[sweep]\nbusy = "100ms"' })
  const { id } = await stage.add('Do it')
  const { pid } = await stage.status()
  const server = Number(await stage.tmux('display-message', '-p', '#{pid}'))
  const most = { daemon: 0, tmux: 0 }
  await eventually(
    'all of it was printed',
    async () => {
      most.daemon = Math.max(most.daemon, rssMb(pid))
      most.tmux = Math.max(most.tmux, rssMb(server))
      // No window yet: tmux refuses, and the next look finds it.
      const screen = await stage.tmux('capture-pane', '-p', '-t', 'agent-work-1').catch(() => '')
      return screen.includes('that was all')
    },
    120_000,
  )
  console.log(`200 MB printed: daemon at most ${most.daemon} MB, tmux at most ${most.tmux} MB`)
  expect(most.daemon).toBeLessThan(150)
  expect(most.tmux).toBeLessThan(60)
  expect(isAlive(pid)).toBe(true)
  expect((await stage.ccm(['cancel', id])).code).toBe(0)
  expect(await stage.end(id)).toMatchObject({ status: 'cancelled' })
})

function rssMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kb) / 1024)
}
