import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { createDaemonClient } from '../src/client/daemon-client.ts'
import { createStage, type Stage } from '../test/e2e/stage.ts'
import { median, type Bench } from './row.ts'

const ROUNDS = 15

/**
 * From enqueueing a task to the agent's first request at the API, the daemon idle before. Peer: a bare
 * `claude "prompt"` in a new window of a running tmux server, with a config folder that asks nothing, from the
 * start of `tmux new-window`. Both with the real Claude Code in the same repository; rounds alternate.
 */
export const bench: Bench = async () => {
  await using stage = await createStage(() => ({ kind: 'message', text: 'ok\n[DONE]' }))
  await stage.ccm(['start'])
  const { port } = await stage.status()
  const token = readFileSync(join(stage.home, 'token'), 'utf8').trim()
  const client = createDaemonClient({ baseUrl: `http://127.0.0.1:${port}`, token, fetch })
  const bare = preparePeer(stage)
  const ours: number[] = []
  const peer: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    let window = ''
    const peerMs = await firstRequest(
      stage,
      `bare ${round}`,
      async () => (window = await bare(`bare ${round}`)),
    )
    await stage.tmux('kill-window', '-t', window)
    await sleep(1500)
    let id = ''
    const oursMs = await firstRequest(stage, `ours ${round}`, async () => {
      const { task } = await client.createTask({ prompt: `ours ${round}`, dir: stage.work, trust: true })
      id = task.id
    })
    await stage.end(id)
    // The first round of each warms the caches.
    if (round > 0) {
      ours.push(oursMs)
      peer.push(peerMs)
    }
  }
  const [peerMedian, oursMedian] = [median(peer), median(ours)]
  return [
    {
      name: 'enqueue to first API request',
      peer: peerMedian,
      ours: oursMedian,
      ratio: peerMedian / oursMedian,
      unit: 'ms',
      goal: `at most 100 ms more than the peer (here ${Math.round(oursMedian - peerMedian)} ms more)`,
    },
  ]
}

async function firstRequest(stage: Stage, prompt: string, act: () => Promise<unknown>): Promise<number> {
  const startedAt = Date.now()
  await act()
  for (;;) {
    const found = stage.model.requests.find(({ userBlocks }) => userBlocks.includes(prompt))
    if (found !== undefined) return found.at - startedAt
    if (Date.now() - startedAt > 20_000) throw new Error(`No request with the prompt "${prompt}" came.`)
    await sleep(2)
  }
}

/** Seeds a config folder and answers a function that starts claude in a new window of the stage's tmux server. */
function preparePeer(stage: Stage): (prompt: string) => Promise<string> {
  const config = join(stage.folder, 'peer')
  mkdirSync(config)
  const key = 'sk-ant-dummy-0000000000000000000000000000'
  writeFileSync(
    join(config, '.claude.json'),
    JSON.stringify({
      hasCompletedOnboarding: true,
      projects: { [stage.work]: { hasTrustDialogAccepted: true } },
      customApiKeyResponses: { approved: [key.slice(-20)], rejected: [] },
    }),
  )
  const variables: Record<string, string> = {
    CLAUDE_CONFIG_DIR: config,
    ANTHROPIC_API_KEY: key,
    ANTHROPIC_BASE_URL: stage.model.url,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_AUTOUPDATER: '1',
    CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: '1',
    CCM_TEST_MARK: stage.env['CCM_TEST_MARK'] ?? '',
  }
  const socket = join(stage.home, 'tmux/tmux.sock')
  return async (prompt) => {
    const settings = Object.entries(variables).flatMap(([name, value]) => ['-e', `${name}=${value}`])
    const claude =
      readFileSync(join(stage.folder, 'ccm.toml'), 'utf8').match(/^command = (.*)$/m)?.[1] ?? '""'
    const argv = [JSON.parse(claude) as string, '--permission-mode', 'acceptEdits', prompt]
    const window = [
      'new-window',
      '-d',
      '-P',
      '-F',
      '#{window_id}',
      '-t',
      '=ccm:',
      '-c',
      stage.work,
      ...settings,
      '--',
      ...argv,
    ]
    const { stdout } = await execa('tmux', ['-S', socket, ...window], { env: stage.env, extendEnv: false })
    return stdout.trim()
  }
}
