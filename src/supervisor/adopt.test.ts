import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { attemptFiles } from '../agent/launch.ts'
import { createAttempts } from '../store/attempts.ts'
import { openForTest, temporaryHome } from '../store/temporary-database.ts'
import { adoptAll } from './adopt.ts'
import { newAttempt } from './attempts/start-window.ts'
import type { Settings } from './attempts/settings.ts'
import type { Task } from '../core/task/task.ts'

type Options = Parameters<typeof adoptAll>[0]

test.each([
  ['stored', true, false],
  ['not stored', false, true],
])(
  'the spool of an attempt that is out of date goes where its events are %s',
  async (_what, isStored, stays) => {
    using home = temporaryHome()
    const db = openForTest(home.file)
    const attempts = createAttempts(db)
    const settings = {
      home: home.folder,
      claude: { permissionMode: 'manual', allowedTools: [], env: {} },
    } as unknown as Settings
    const attempt = newAttempt(
      {
        id: 'adopted-1',
        attempt: 1,
        source: 'api',
        permissionMode: 'manual',
        allowedTools: [],
      } as unknown as Task,
      null,
      settings,
      1,
    )
    attempts.open(attempt)
    const { spool } = attemptFiles(attempt.folder)
    mkdirSync(spool, { recursive: true })
    const event = join(spool, 'a.json')
    writeFileSync(event, '{}')
    await adoptAll({
      queue: { heartbeat: async () => [], get: async () => null, mine: async () => [] },
      attempts,
      runner: { agents: new Map() },
      tmux: { run: async () => [{ ok: true, text: '' }] },
      home: home.folder,
      clock: () => 2,
      ended: async () => {
        if (isStored) rmSync(event)
      },
    } as unknown as Options)
    expect(attempts.get(attempt)?.phase).toBe('settled')
    expect([existsSync(event), existsSync(spool)]).toEqual([stays, stays])
    db.close()
  },
)
