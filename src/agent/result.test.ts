import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { HookEvent, HookPayload } from '../core/agent/hook-event.ts'
import { snapshotTree } from './changes.ts'
import {
  collectResult,
  findTranscript,
  readTranscriptFiles,
  resumeCommand,
  type ResultSources,
} from './result.ts'

let base = ''
let dir = ''
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'ccm-result-'))
  dir = join(base, 'app')
  mkdirSync(dir)
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

const SESSION = '11111111-1111-4111-8111-111111111111'
const said = (id: string, text: string, extra: Record<string, unknown> = {}) =>
  JSON.stringify({
    type: 'assistant',
    timestamp: '2026-11-20T12:00:01.000Z',
    sessionId: SESSION,
    message: {
      id,
      model: 'claude-opus-5-5',
      content: [{ type: 'text', text }],
      usage: { input_tokens: 1000, output_tokens: 10 },
    },
    ...extra,
  })
const failed = (text: string) =>
  said('x', text, { isApiErrorMessage: true, apiErrorStatus: 529, apiErrorType: 'overloaded_error' })

function writeTranscript(lines: string[], subagent: string[] = []): string {
  const folder = join(base, 'config/projects/-app')
  mkdirSync(join(folder, SESSION, 'subagents'), { recursive: true })
  const path = join(folder, `${SESSION}.jsonl`)
  writeFileSync(path, lines.join('\n'))
  writeFileSync(join(folder, SESSION, 'subagents/agent-a1.jsonl'), subagent.join('\n'))
  writeFileSync(join(folder, SESSION, 'subagents/agent-a1.meta.json'), said('m7', 'not a transcript'))
  return path
}

function event(payload: HookPayload, at: number): HookEvent {
  return {
    id: at,
    taskId: 't',
    attempt: 1,
    claudeSessionId: SESSION,
    hookEventName: payload.hook_event_name ?? '',
    at,
    payload,
  }
}

function sources(extra: Partial<ResultSources>): ResultSources {
  return {
    dir,
    configDir: null,
    claudeSessionId: SESSION,
    transcriptPath: null,
    events: [],
    before: null,
    markers: { done: '[DONE]', error: '[ERROR]' },
    message: '',
    startedAt: 1000,
    endedAt: 3500,
    attempts: 2,
    problem: null,
    ...extra,
  }
}

test('puts everything together', async () => {
  const before = await snapshotTree(dir, join(base, 'before'))
  writeFileSync(join(dir, 'new.ts'), 'x\n')
  const call = { tool_name: 'Bash', tool_input: { command: 'make' }, tool_use_id: 'u1' }
  const result = await collectResult(
    sources({
      before,
      configDir: join(base, 'config'),
      transcriptPath: writeTranscript(
        [said('m1', 'a'), failed('API Error: 529'), said('m2', 'b')],
        [said('m9', 's')],
      ),
      message: 'All done.\n\n[DONE]',
      events: [
        event({ hook_event_name: 'PreToolUse', ...call }, 1),
        event({ hook_event_name: 'PostToolUse', ...call, tool_response: {}, duration_ms: 5 }, 2),
      ],
    }),
  )
  expect(result).toEqual({
    text: 'All done.',
    tools: [expect.objectContaining({ command: 'make', exit_code: 0, duration_ms: 5 })],
    files: [{ path: 'new.ts', change: 'added', added: null, removed: null }],
    usage: {
      'claude-opus-5-5': {
        input_tokens: 3000,
        output_tokens: 30,
        cache_read_input_tokens: 0,
        cache_creation_input_tokens: 0,
      },
    },
    cost_usd: expect.closeTo((3000 * 4 + 30 * 20) / 1e6, 10),
    duration_ms: 2500,
    attempts: 2,
    claude_session_id: SESSION,
    resume_command: `cd '${dir}' && CLAUDE_CONFIG_DIR='${base}/config' claude --resume ${SESSION}`,
    errors: [{ kind: 'overloaded', message: 'API Error: 529', at: Date.parse('2026-11-20T12:00:01.000Z') }],
  })
})

test('takes the last words from the transcript when no Stop event brought them', async () => {
  const transcriptPath = writeTranscript([said('m1', 'I was at it.')])
  expect((await collectResult(sources({ transcriptPath }))).text).toBe('I was at it.')
})

test('an attempt that never became a session costs nothing and cannot be resumed', async () => {
  const problem = { kind: 'start', message: 'The window could not be opened.' }
  const result = await collectResult(sources({ claudeSessionId: null, problem }))
  expect(result).toMatchObject({ cost_usd: 0, usage: {}, claude_session_id: null, resume_command: null })
  expect(result.errors).toEqual([{ ...problem, at: 3500 }])
})

test('names what could not be read instead of failing or guessing', async () => {
  const result = await collectResult(
    sources({
      transcriptPath: join(base, 'gone.jsonl'),
      before: { kind: 'unknown', reason: 'It took git too long to record the files.' },
    }),
  )
  expect(result).toMatchObject({ cost_usd: null, files: [], usage: {} })
  expect(result.errors.map(({ kind }) => kind).sort()).toEqual(['files', 'transcript'])
  expect(result.errors.find(({ kind }) => kind === 'files')?.message).toContain('too long')
})

test('takes API errors from the hook where the transcript has none', async () => {
  const payload = {
    hook_event_name: 'StopFailure',
    error: 'authentication_failed',
    last_assistant_message: 'Failed to authenticate. API Error: 401',
  }
  const result = await collectResult(sources({ events: [event(payload, 7)] }))
  expect(result.errors).toEqual([{ kind: 'auth', message: payload.last_assistant_message, at: 7 }])
  expect(result.cost_usd).toBe(null)
})

test('the resume command survives a shell, whatever the folders are called', () => {
  const odd = join(base, `it's "$(touch x)" \`y\` \\ ; &`)
  mkdirSync(odd)
  const command = resumeCommand({ dir: odd, configDir: odd }, SESSION)
  const claude = `claude() { printf '%s|' "$PWD" "$CLAUDE_CONFIG_DIR" "$@"; }`
  const said = execFileSync('sh', ['-c', `${claude}; ${command}`], { encoding: 'utf8' })
  expect(said).toBe(`${odd}|${odd}|--resume|${SESSION}|`)
})

test('finds a transcript by the session where no hook named it', async () => {
  const path = writeTranscript([])
  const session = { path: null, configDir: join(base, 'config'), sessionId: SESSION }
  expect(await findTranscript(session)).toBe(path)
  expect(await findTranscript({ ...session, path: '/named' })).toBe('/named')
  expect(await findTranscript({ ...session, sessionId: 'other' })).toBe(null)
  expect(await findTranscript({ ...session, configDir: join(base, 'none') })).toBe(null)
})

test('reads lines across chunks, a last line without an end, and skips a monstrous one', async () => {
  const monster = said('m2', 'x'.repeat(17 * 1024 * 1024))
  // The reader's chunks have 256 KiB: this one's tail would be a record of its own.
  const tail = `${'x'.repeat(70 * 256 * 1024)}${said('m4', 'x')}`
  const aligned = await readTranscriptFiles(writeTranscript([tail, '']), dir)
  expect(aligned.messages).toEqual([])
  const path = writeTranscript([said('m1', 'ü'.repeat(700_000)), monster, '', said('m3', 'last 漢字')])
  const { messages, lastAssistantText } = await readTranscriptFiles(path, dir)
  expect(messages).toHaveLength(2)
  expect(lastAssistantText).toBe('last 漢字')
})
