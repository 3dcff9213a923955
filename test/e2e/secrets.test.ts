import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, statSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createStage } from './stage.ts'

/** Secrets without any known form: only who was told of them can blot them out. */
const AGENTS = 'marzipan-lighthouse-4711'
const MESSAGES = 'velvet-tugboat-0815'
const VARIABLE = 'copper-sundial-2342'
const SIGNING = 'walnut-periscope-1618-walnut-periscope-1618'

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)
}

test(
  'a planted secret is in no log, record, result, argument or answer, and only its own agent has it',
  { timeout: 240_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ccm-planted-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const plant = (name: string, secret: string) => {
      writeFileSync(join(folder, name), `${secret}\n`, { mode: 0o600 })
      return JSON.stringify(join(folder, name))
    }
    const show = `env; echo "it is $A_TOKEN"; echo "$A_TOKEN" >&2; sleep 5`
    await using stage = await createStage(
      ({ turn }) =>
        turn === 0
          ? { kind: 'message', tools: [{ name: 'Bash', input: { command: show, description: 'look' } }] }
          : {
              kind: 'message',
              text: `The token is ${AGENTS}, and users' are signed with ${SIGNING}.\n[DONE]`,
            },
      {
        config: `A_TOKEN = { file = ${plant('agents', AGENTS)} }
[log]
level = "debug"
[auth]
supabase_url = "http://127.0.0.1:9"
hs256_secret = { file = ${plant('signing', SIGNING)} }
[alerts]
ntfy = "http://127.0.0.1:9/topic"
ntfy_token = { command = ["cat", ${plant('messages', MESSAGES)}] }
`,
      },
    )
    await stage.ccm(['start'], { env: { PLANTED: VARIABLE } })
    const { id } = await stage.add('look around', '--permission-mode', 'bypassPermissions')
    await expect
      .poll(async () => (await stage.events(id)).some((event) => event.hook_event_name === 'PreToolUse'), {
        timeout: 60_000,
      })
      .toBe(true)
    // While it works: the whole machine's process list, and what the agent itself was given.
    const list = execFileSync('ps', ['-eo', 'args', '-ww'], { encoding: 'utf8' })
    for (const secret of [AGENTS, MESSAGES, VARIABLE, SIGNING]) expect(list.includes(secret)).toBe(false)
    const environments = stage
      .processesOf(id)
      .map((pid) => readFileSync(`/proc/${pid}/environ`, 'latin1'))
      .join('\0')
    expect(environments).toContain(AGENTS)
    expect(environments).not.toContain(MESSAGES)
    expect(environments).not.toContain(VARIABLE)
    expect(environments).not.toContain(SIGNING)

    const task = await stage.end(id)
    expect(task.status).toBe('succeeded')
    expect(JSON.stringify(task.result)).toContain('***')
    const said = await Promise.all(
      [['show', id], ['events', id], ['explain', id], ['logs'], ['audit'], ['config'], ['status']].map(
        async (args) => (await stage.ccm([...args, '--json'])).stdout,
      ),
    )
    const { port } = await stage.status()
    said.push(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text())
    expect(said.at(-1)).toContain('ccm_attempts_ended_total{')
    for (const text of said) expect(text.match(/marzipan|velvet-tug|copper-sun|walnut-peri/)).toBeNull()
    await stage.ccm(['stop'])
    // All that was ever written into the home, but what Claude Code itself keeps in its own folder.
    const files = filesBelow(stage.home).filter((file) => !file.startsWith(join(stage.home, 'claude')))
    expect(files.some((file) => file.endsWith('ccm.db'))).toBe(true)
    expect(files.some((file) => file.endsWith('daemon.log'))).toBe(true)
    const holders = files.filter((file) =>
      /marzipan|velvet-tug|copper-sun|walnut-peri/.test(readFileSync(file, 'latin1')),
    )
    expect(holders).toEqual([])
  },
)
