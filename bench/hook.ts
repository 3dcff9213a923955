import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { attemptSettings } from '../src/agent/settings.ts'
import { createStage } from '../test/e2e/stage.ts'
import { median, type Bench } from './row.ts'

const CALLS = 12
const ROUNDS = 5
const SCRIPT = resolve(import.meta.dirname, '../hooks/record-event.sh')
const SQLITE = resolve(import.meta.dirname, '../node_modules/better-sqlite3')

type Hooks = Record<string, unknown>

/** What most hook recorders are: a Node program that stores the event in SQLite, each in a commit of its own. */
const NODE_HOOK = (database: string) => `
import { createRequire } from 'node:module'
const Sqlite = createRequire(import.meta.url)(${JSON.stringify(SQLITE)})
let text = ''
for await (const chunk of process.stdin) text += chunk
const db = new Sqlite(${JSON.stringify(database)}, { timeout: 5000 })
db.pragma('journal_mode = WAL')
db.exec('CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, name TEXT, payload TEXT)')
db.prepare('INSERT INTO events (name, payload) VALUES (?, ?)').run(JSON.parse(text).hook_event_name, text)
db.close()
`

/**
 * What one tool call's two hook events cost the agent: the real Claude Code runs `true` twelve times in a turn,
 * and the time between the API's answer and the next request is taken, less that of a client without hooks.
 * Peer: `node hook.mjs` that writes SQLite. Rounds alternate.
 */
export const bench: Bench = async () => {
  let next = 0
  const answered: number[] = []
  const gaps: number[] = []
  await using stage = await createStage(() => {
    const last = answered.at(-1)
    if (last !== undefined && next > 0) gaps.push(performance.now() - last)
    answered.push(performance.now())
    if (next++ < CALLS) return { kind: 'message', tools: [{ name: 'Bash', input: { command: 'true' } }] }
    return { kind: 'message', text: 'Done.' }
  })
  const config = join(stage.folder, 'config')
  mkdirSync(config)
  const spool = join(stage.folder, 'spool')
  mkdirSync(spool)
  const hookFile = join(stage.folder, 'hook.mjs')
  writeFileSync(hookFile, NODE_HOOK(join(stage.folder, 'peer.db')))
  chmodSync(hookFile, 0o700)
  const ours = attemptSettings({ hookScript: SCRIPT, spoolFolder: spool, ask: null }) as { hooks: Hooks }
  const peerHook = [
    { hooks: [{ type: 'command', command: process.execPath, args: [hookFile], timeout: 30 }] },
  ]
  const { PreToolUse, PostToolUse } = ours.hooks
  const settings: Record<'none' | 'ours' | 'peer', Hooks> = {
    none: {},
    ours: { PreToolUse, PostToolUse },
    peer: { PreToolUse: peerHook, PostToolUse: peerHook },
  }
  const claude = resolve(
    import.meta.dirname,
    `../node_modules/@anthropic-ai/claude-code-${process.platform}-${process.arch}/claude`,
  )
  const times: Record<keyof typeof settings, number[]> = { none: [], ours: [], peer: [] }
  for (let round = 0; round <= ROUNDS; round++)
    for (const [name, hooks] of Object.entries(settings) as [keyof typeof settings, Hooks][]) {
      next = 0
      answered.length = 0
      gaps.length = 0
      await execa(
        claude,
        ['-p', 'Go', '--permission-mode', 'bypassPermissions', '--settings', JSON.stringify({ hooks })],
        {
          cwd: stage.work,
          extendEnv: false,
          stdin: 'ignore',
          timeout: 120_000,
          env: {
            ...stage.env,
            CLAUDE_CONFIG_DIR: config,
            ANTHROPIC_API_KEY: 'sk-ant-dummy-0000000000000000000000000000',
            ANTHROPIC_BASE_URL: stage.model.url,
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
            CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL: '1',
            DISABLE_TELEMETRY: '1',
            DISABLE_AUTOUPDATER: '1',
            IS_SANDBOX: '1',
          },
        },
      )
      // The first round warms the caches.
      if (round > 0) times[name].push(...gaps)
    }
  const none = median(times.none)
  const [oursMs, peerMs] = [median(times.ours) - none, median(times.peer) - none]
  return [
    {
      name: `two hook events a tool call, in the client (bare call ${Math.round(none)} ms)`,
      peer: peerMs,
      ours: oursMs,
      ratio: peerMs / oursMs,
      unit: 'ms',
      goal: 8,
    },
  ]
}
