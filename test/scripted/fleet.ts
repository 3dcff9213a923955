import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { execa } from 'execa'
import { createStage, daemonLog, isAlive, type Ran, type Stage } from '../e2e/stage.ts'
import { signal } from '../support/signal.ts'
import { judge, type Damage, type Remains } from './judge.ts'
import { ledgerNow, readLedger, type Entry } from './ledger.ts'
import { promptOf, type Script } from './script.ts'

/** A stage with scripted agents in Claude Code's place, each in a directory of its own, and their ledger. */
export type ScriptedFleet = {
  stage: Stage
  ledgerFolder: string
  ledger: () => Entry[]
  /** Adds a task in one of the directories, in turn, without a process of its own; waits for a daemon. */
  add: (name: string, script: Script, more?: Record<string, unknown>) => Promise<string>
  /** Starts the daemon where none runs; ms until it answered. */
  up: () => Promise<number>
  pidOfDaemon: () => number
  /** Ends the daemon without a word. */
  crash: () => Promise<void>
  /** A file by which agents are held in their turn; `letGo` removes it. */
  holdFile: string
  hold: () => void
  letGo: () => void
  /** One value of the daemon's database, read from outside. */
  ask: <T>(sql: string) => T[]
  counts: () => Record<string, number>
  /** Pids of agents that have begun a task and live, by the ledger. */
  living: () => { task: string; attempt: number; pid: number }[]
  /** Waits until every task is over; `meanwhile` is called again and again. */
  over: (limitMs: number, meanwhile?: () => Promise<void>) => Promise<void>
  /** What is left now, by the daemon's own database and the machine. */
  remains: () => Remains
  /** What is wrong in the end, after the agents have gone. */
  faults: (poisoned?: string[], damage?: Damage) => Promise<string[]>
  [Symbol.asyncDispose]: () => Promise<void>
}

const CCM = resolve(import.meta.dirname, '../../bin/ccm.js')
const AGENT = resolve(import.meta.dirname, 'agent.ts')

/** As many agents work side by side as there are `dirs`. */
export async function createScriptedFleet(options: {
  dirs: number
  config?: string
  /** The folder of another fleet's ledger, to share it; default: one of its own. */
  ledgerFolder?: string
  /** Runs the daemon as this user; for root only. */
  asUser?: number
  /** Claude Code's own folder is outside the home, as a user's own is; default: one a task, in the home. */
  ownConfigFolder?: boolean
}): Promise<ScriptedFleet> {
  const stage = await createStage(() => ({ kind: 'message', text: 'Nobody asks.\n[DONE]' }), {
    git: false,
    claude: 'claude-of-the-test',
    config: [
      '[agents]',
      `max_concurrent = ${options.dirs}`,
      'min_free_memory_mb = 0',
      // One line a key: a later one of the same section would be refused.
      options.config ?? '[queue]\nmax_queued = 10000\nsweep = "2s"',
    ].join('\n'),
  })
  const folder = join(stage.folder, 'scripted')
  mkdirSync(folder)
  const ledgerFolder = options.ledgerFolder ?? folder
  const program = join(folder, 'claude')
  writeFileSync(
    program,
    [
      '#!/bin/sh',
      'if [ "$1" = --version ]; then echo "2.1.328 (Claude Code)"; exit 0; fi',
      `exec ${process.execPath} --max-old-space-size=64 --disable-warning=ExperimentalWarning ${AGENT} "$@"`,
      '',
    ].join('\n'),
  )
  chmodSync(program, 0o755)
  const toml = join(stage.folder, 'ccm.toml')
  const env: Record<string, string> = { CCM_TEST_LEDGER: ledgerFolder }
  if (options.ownConfigFolder === true) env['CLAUDE_CONFIG_DIR'] = join(stage.folder, 'claude')
  const lines = Object.entries(env).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`)
  const text = readFileSync(toml, 'utf8')
    .replace('"claude-of-the-test"', JSON.stringify(program))
    .replace('[claude.env]\n', `[claude.env]\n${lines.join('')}`)
  writeFileSync(toml, text)
  const dirs = Array.from({ length: options.dirs }, (_, index) => join(stage.folder, `dir${index}`))
  for (const dir of dirs) mkdirSync(dir)
  const holdFile = join(folder, 'hold')
  let added = 0
  const accepted: Remains['accepted'] = []

  async function start(): Promise<Pick<Ran, 'code' | 'stderr'>> {
    if (options.asUser === undefined) return stage.ccm(['start'])
    const uid = String(options.asUser)
    await execa('chown', ['-R', `${uid}:${uid}`, stage.folder])
    const as = ['--reuid', uid, '--regid', uid, '--clear-groups', process.execPath, CCM, 'start']
    const { env } = stage
    const ran = await execa('setpriv', as, { env, extendEnv: false, cwd: stage.work, reject: false })
    return { code: ran.exitCode ?? -1, stderr: ran.stderr }
  }

  const address = () =>
    JSON.parse(readFileSync(join(stage.home, 'daemon.json'), 'utf8')) as { pid: number; port: number }

  async function post(body: object): Promise<string> {
    for (let tries = 0; ; tries++) {
      try {
        const reply = await fetch(`http://127.0.0.1:${address().port}/api/tasks`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${readFileSync(join(stage.home, 'token'), 'utf8').trim()}`,
            'content-type': 'application/json',
          },
          body: JSON.stringify(body),
        })
        const answer = (await reply.json()) as { id?: string; task?: { id: string } }
        const id = answer.task?.id ?? answer.id
        if (id === undefined) throw new Error(`not added: ${reply.status} ${JSON.stringify(answer)}`)
        accepted.push({ id, at: ledgerNow() })
        return id
      } catch (error) {
        if (tries > 100) throw error
        await sleep(100)
      }
    }
  }

  function ask<T>(sql: string): T[] {
    const db = new Sqlite(join(stage.home, 'ccm.db'), { readonly: true, timeout: 5000 })
    try {
      return db.prepare(sql).all() as T[]
    } finally {
      db.close()
    }
  }

  const counts = () =>
    Object.fromEntries(
      ask<{ status: string; n: number }>('SELECT status, count(*) AS n FROM tasks GROUP BY status').map(
        ({ status, n }) => [status, n],
      ),
    )

  function processesOfAgents(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
          return environment.includes(`CCM_TEST_LEDGER=${ledgerFolder}\0`) && isAlive(pid)
        } catch {
          return false
        }
      })
  }

  function remains(): Remains {
    const count = (sql: string) => ask<{ n: number }>(sql)[0]?.n ?? 0
    return {
      accepted,
      tasks: ask('SELECT id, status FROM tasks'),
      events: ask(
        `SELECT task_id AS task, attempt, json_extract(payload, '$.seq') AS seq FROM hook_events
         WHERE json_valid(payload) AND json_extract(payload, '$.seq') IS NOT NULL ORDER BY id`,
      ),
      lost: ask(
        `SELECT task_id AS task, attempt, sum(payload ->> '$.lost') AS count FROM hook_events
         WHERE kind = 'events_lost' GROUP BY task_id, attempt`,
      ),
      openAttempts: count(
        `SELECT count(*) AS n FROM attempts WHERE phase IN ('claimed', 'starting', 'started')`,
      ),
      undelivered: count('SELECT count(*) AS n FROM outbox WHERE delivered_at IS NULL'),
      integrity: ask<{ integrity_check: string }>('PRAGMA integrity_check')
        .map((row) => row.integrity_check)
        .join(),
      processes: processesOfAgents(),
    }
  }

  const fleet: ScriptedFleet = {
    stage,
    ledgerFolder,
    holdFile,
    hold: () => writeFileSync(holdFile, ''),
    letGo: () => {
      if (existsSync(holdFile)) unlinkSync(holdFile)
    },
    ledger: () => readLedger(ledgerFolder),
    add: (name, script, more = {}) =>
      post({
        prompt: promptOf(name, script),
        dir: dirs[added++ % dirs.length],
        in_place: true,
        trust: true,
        ...more,
      }),
    async up() {
      const from = performance.now()
      const { code, stderr } = await start()
      if (code !== 0) throw new Error(`ccm start: ${code}: ${stderr}\n${daemonLog(stage.home)}`)
      return performance.now() - from
    },
    pidOfDaemon: () => address().pid,
    async crash() {
      const { pid } = address()
      signal(pid, 'SIGKILL')
      while (isAlive(pid)) await sleep(5)
    },
    ask,
    counts,
    living() {
      const entries = readLedger(ledgerFolder)
      const ended = new Set(entries.flatMap((entry) => (entry.kind === 'end' ? [entry.pid] : [])))
      // One that was killed wrote no end, and its pid may be anybody's by now.
      const agents = new Set(processesOfAgents())
      return entries
        .filter((entry) => entry.kind === 'start' && !ended.has(entry.pid) && agents.has(entry.pid))
        .map(({ task, attempt, pid }) => ({ task, attempt, pid }))
    },
    async over(limitMs, meanwhile) {
      const until = performance.now() + limitMs
      for (;;) {
        const { queued = 0, running = 0 } = counts()
        if (queued + running === 0) return
        if (performance.now() > until) {
          const open = ask(`SELECT id, status, attempt, failures, lost_leases, error FROM tasks
            WHERE status IN ('queued', 'running') LIMIT 5`)
          throw new Error(
            `after ${limitMs} ms: ${JSON.stringify(counts())}\n${JSON.stringify(open, null, 1)}\n${daemonLog(stage.home)}`,
          )
        }
        if (meanwhile === undefined) await sleep(200)
        else await meanwhile()
      }
    },
    remains,
    async faults(poisoned, damage) {
      // What an attempt leaves is cleared right after its outcome is stored.
      for (let tries = 0; tries < 100; tries++) {
        const { openAttempts, undelivered, processes } = remains()
        if (openAttempts + undelivered + processes.length === 0) break
        await sleep(100)
      }
      return judge(readLedger(ledgerFolder), remains(), poisoned, damage)
    },
    async [Symbol.asyncDispose]() {
      await stage[Symbol.asyncDispose]()
    },
  }
  return fleet
}

/** Open descriptors and resident memory in MiB of a process. */
export function sizeOf(pid: number): { descriptors: number; memoryMb: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    memoryMb: Math.round(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024),
  }
}
