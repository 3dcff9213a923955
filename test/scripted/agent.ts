// A program in Claude Code's place; README.md beside it says what it does and where it deviates.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freeLock, openLedger, startOf, takeLock } from './ledger.ts'
import { readScript } from './script.ts'

const SCREENS = resolve(import.meta.dirname, '../claude/screens/2.1.328')
const FRAMES = {
  fresh: frame('ready/fresh-200x50-classic.txt'),
  idle: frame('ready/interrupted-200x50-fullscreen.txt'),
  working: frame('working/thinking-200x50-fullscreen.txt'),
  asking: frame('waiting/permission-bash-120x40-fullscreen.txt'),
}

const argv = process.argv.slice(2)
const after = (name: string) => argv[argv.indexOf(name) + 1] ?? ''
const resumed = argv.includes('--resume')
const sessionId = after(resumed ? '--resume' : '--session-id')
const settings = JSON.parse(readFileSync(after('--settings'), 'utf8')) as {
  hooks: Record<
    string,
    {
      hooks: {
        type: string
        command?: string
        args?: string[]
        url?: string
        headers?: Record<string, string>
      }[]
    }[]
  >
}
const task = process.env['CCM_TASK_ID'] ?? ''
const attempt = Number(process.env['CCM_ATTEMPT'])
const ledgerFolder = process.env['CCM_TEST_LEDGER'] ?? ''
const config = process.env['CLAUDE_CONFIG_DIR'] ?? ''
const cwd = process.cwd()
const note = openLedger(ledgerFolder, task, attempt)
const transcript = join(config, 'projects', cwd.replaceAll(/[^a-zA-Z0-9]/g, '-'), `${sessionId}.jsonl`)
const sessionFile = join(config, 'sessions', `${process.pid}.json`)

let seq = 0
let frameNow = FRAMES.fresh
let typed = ''
let pasting = false
let ending = false
let answered: ((allow: boolean) => void) | null = null
let chain: Promise<unknown> = Promise.resolve()

const prompt = argv.at(-1) ?? ''
const script = readScript(prompt) ?? readScript(firstPrompt()) ?? {}
const { garbage } = script
/** Of a linear congruential generator: the same garbage for the same number. */
let noise = garbage ?? 0

const holder = takeLock(ledgerFolder, task)
if (holder !== null) {
  note({ kind: 'lock_failed', holder })
  process.exit(9)
}
note({ kind: 'start', resumed })
process.stdout.on('error', () => undefined)
process.stdin.setRawMode?.(true)
process.stdin.on('data', (data: Buffer) => onInput(data.toString('utf8')))
for (const signal of ['SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => void leave(signal === 'SIGTERM' ? 143 : 129))
mkdirSync(join(config, 'sessions'), { recursive: true })
mkdirSync(join(transcript, '..'), { recursive: true })
process.stdout.write('\u001b[?2004h\u001b]0;✳ Claude Code\u0007')
session('idle')
draw(FRAMES.fresh)
await hook('SessionStart', { source: resumed ? 'resume' : 'startup' })
chain = chain.then(() => turn(prompt))

async function turn(text: string): Promise<void> {
  session('busy')
  draw(FRAMES.working)
  write({ type: 'user', message: { role: 'user', content: text } })
  await hook('UserPromptSubmit', { prompt: text })
  if (script.child === true) leaveChild('trap "" HUP TERM INT; while :; do sleep 1; done')
  if (script.childWrites !== undefined) leaveChild(`echo x >'${script.childWrites}'`)
  if (script.ask === true && !(await askPermission()))
    return endTurn('It was refused.\n[ERROR] refused', 'error')
  if (script.floodBytes !== undefined) await flood(script.floodBytes)
  const tools = script.tools ?? 1
  for (let tool = 0; tool < tools; tool++) {
    const call = { tool_name: 'Bash', tool_use_id: randomUUID(), tool_input: { command: 'true' } }
    await hook('PreToolUse', call)
    await work((script.workMs ?? 200) / tools)
    await hook('PostToolUse', { ...call, tool_response: { stdout: '', stderr: '' }, duration_ms: 1 })
  }
  while (script.holdFile !== undefined && existsSync(script.holdFile)) await work(50)
  const limitedUntil = limitOf(script.limitFile)
  if (limitedUntil > Date.now()) return endAtLimit(limitedUntil)
  const ends = script.ends ?? ['done']
  const end = ends[Math.min(attempt, ends.length) - 1] ?? 'done'
  if (end === 'crash') process.exit(3)
  if (end === 'kill') process.kill(process.pid, 'SIGKILL')
  if (end === 'hang') await new Promise(() => undefined)
  if (end === 'done') return endTurn('It is done.\n[DONE]', 'done')
  if (end === 'error') return endTurn('It cannot be done.\n[ERROR] told to', 'error')
  return endTurn('That is all.', 'unmarked')
}

async function endTurn(message: string, outcome: string): Promise<void> {
  const content = [{ type: 'text', text: message }]
  const id = `msg_${randomUUID()}`
  note({ kind: 'saying', outcome })
  write({
    type: 'assistant',
    message: { id, role: 'assistant', model: 'scripted', content, stop_reason: 'end_turn' },
  })
  session('idle')
  draw(FRAMES.idle)
  await hook('Stop', { last_assistant_message: message, background_tasks: [] }, () =>
    note({ kind: 'outcome', outcome }),
  )
}

function limitOf(file: string | undefined): number {
  return file === undefined || !existsSync(file) ? 0 : Number(readFileSync(file, 'utf8'))
}

async function endAtLimit(until: number): Promise<void> {
  const text = "You've hit your 5-hour limit"
  write({
    type: 'assistant',
    isApiErrorMessage: true,
    error: 'rate_limit',
    apiErrorStatus: 429,
    apiError: 'usage_limit_reached',
    quotaLimits: { status: 'rejected', resetsAt: Math.ceil(until / 1000), rateLimitType: 'five_hour' },
    message: { id: randomUUID(), role: 'assistant', model: '<synthetic>', content: [{ type: 'text', text }] },
  })
  session('idle')
  draw(FRAMES.idle)
  await hook('StopFailure', { error: 'rate_limit', last_assistant_message: text })
}

async function work(ms: number): Promise<void> {
  const until = performance.now() + ms
  while (script.chatter === true && performance.now() < until) {
    draw(frameNow.replace('❯ ', `${Date.now()} ❯ `))
    await sleep(100)
  }
  await sleep(Math.max(0, until - performance.now()))
}

/** Runs the event's hooks as the client does: one after the other, and goes on when they have ended. */
async function hook(name: string, more: Record<string, unknown>, sentToo?: () => void): Promise<void> {
  if (attempt >= (script.muteFrom ?? Infinity)) return sentToo?.()
  const number = ++seq
  const whole = {
    session_id: sessionId,
    transcript_path: transcript,
    cwd,
    hook_event_name: name,
    seq: number,
    ...more,
  }
  const text = garbage === undefined ? JSON.stringify(whole) : garbled(JSON.stringify(whole))
  for (const { hooks } of settings.hooks[name] ?? []) {
    for (const { type, command = '', args } of hooks) {
      if (type !== 'command') continue
      if (garbage === undefined) note({ kind: 'sending', seq: number, name })
      // With args no shell comes between, as in Claude Code.
      const [program, words] = args === undefined ? ['/bin/sh', ['-c', command]] : [command, args]
      const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'ignore'], env: process.env })
      child.stdin.on('error', () => undefined)
      child.stdin.end(text)
      const over = new Promise<void>((done) => {
        child.on('error', () => done())
        child.on('exit', (code) => {
          if (code === 0 && garbage === undefined) note({ kind: 'sent', seq: number, name })
          if (code === 0) sentToo?.()
          done()
        })
      })
      // One that says so is not waited for.
      const early = new Promise<void>((done) => {
        child.stdout.on('data', (said: Buffer) => String(said).includes('{"async":true}') && done())
      })
      await Promise.race([over, early])
    }
  }
}

async function askPermission(): Promise<boolean> {
  const call = { tool_name: 'Bash', tool_input: { command: 'true', description: 'Run it' } }
  session('waiting')
  draw(FRAMES.asking)
  const byKey = new Promise<boolean>((done) => (answered = done))
  await hook('PermissionRequest', call)
  const http = settings.hooks['PermissionRequest']?.[0]?.hooks.find(({ type }) => type === 'http')
  const allowed = await Promise.race([
    byKey,
    ...(http?.url === undefined ? [] : [askOver(http.url, http.headers ?? {}, call)]),
  ])
  answered = null
  session('busy')
  draw(FRAMES.working)
  return allowed
}

async function askOver(url: string, headers: Record<string, string>, call: object): Promise<boolean> {
  const body = JSON.stringify({ session_id: sessionId, hook_event_name: 'PermissionRequest', cwd, ...call })
  try {
    const reply = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
    const said = (await reply.json()) as { hookSpecificOutput?: { decision?: { behavior?: string } } }
    const behavior = said.hookSpecificOutput?.decision?.behavior
    if (behavior !== undefined) return behavior === 'allow'
  } catch {
    // The daemon died with the request: the dialog is what is left.
  }
  return new Promise(() => undefined)
}

function onInput(text: string): void {
  // oxlint-disable-next-line no-control-regex -- what a terminal sends
  for (const part of text.split(/(\u001b\[20[01]~|[\r\n])/)) {
    if (part === '\u001b[200~') pasting = true
    else if (part === '\u001b[201~') pasting = false
    else if (answered !== null && part !== '') answered(part !== '\u001b' && part !== '4')
    else if (part === '\r' && !pasting) submit()
    // oxlint-disable-next-line no-control-regex -- keys that type nothing
    else typed += part.replaceAll(/[\u0000-\u0009\u000b-\u001f]/g, '')
  }
  draw(frameNow)
}

function submit(): void {
  const text = typed
  typed = ''
  if (text.trim() === '/exit') void leave(0)
  else if (text !== '') chain = chain.then(() => turn(text))
}

async function leave(code: number): Promise<void> {
  if (ending) return
  ending = true
  await hook('SessionEnd', { reason: 'prompt_input_exit' })
  rmSync(sessionFile, { force: true })
  note({ kind: 'end' })
  freeLock(ledgerFolder, task)
  process.exit(code)
}

function leaveChild(program: string): void {
  const child = spawn('/bin/sh', ['-c', program], {
    detached: true,
    stdio: 'ignore',
  })
  child.unref()
  if (child.pid !== undefined) note({ kind: 'child', child: child.pid })
}

async function flood(bytes: number): Promise<void> {
  const line = Buffer.from(`${'The build prints one line after the other. '.repeat(200)}\r\n`)
  for (let left = bytes; left > 0; left -= line.length)
    if (!process.stdout.write(line)) await new Promise((done) => process.stdout.once('drain', done))
  draw(frameNow)
}

function session(status: string): void {
  const text = JSON.stringify({ pid: process.pid, sessionId, cwd, status, procStart: startOf(process.pid) })
  writeFileSync(sessionFile, garbage === undefined ? text : garbled(text))
}

function write(record: object): void {
  const line = { ...record, sessionId, cwd, uuid: randomUUID(), timestamp: new Date().toISOString() }
  appendFileSync(
    transcript,
    `${garbage === undefined ? JSON.stringify(line) : garbled(JSON.stringify(line))}\n`,
  )
}

function firstPrompt(): string {
  for (const line of existsSync(transcript) ? readFileSync(transcript, 'utf8').split('\n') : []) {
    if (!line.includes('"type":"user"')) continue
    try {
      return (JSON.parse(line) as { message: { content: string } }).message.content
    } catch {
      // Cut off when its writer was killed.
    }
  }
  return ''
}

function draw(frame: string): void {
  frameNow = frame
  let screen = frame
  if (script.shows !== undefined) screen = `${script.shows}\n${screen}`
  const box = screen.lastIndexOf('\n❯')
  const shown = typed.replaceAll('\n', '\r\n  ')
  const text =
    box < 0 ? screen : `${screen.slice(0, box)}\n❯ ${shown}${screen.slice(screen.indexOf('\n', box + 1))}`
  const noisy = garbage === undefined ? text : garbled(text)
  process.stdout.write(`\u001b[H\u001b[2J${noisy.replaceAll('\n', '\r\n')}`)
}

function frame(name: string): string {
  return readFileSync(join(SCREENS, name), 'utf8').trimEnd()
}

function next(below: number): number {
  noise = (noise * 1103515245 + 12345) % 2147483648
  return Math.floor((noise / 2147483648) * below)
}

/** Cut off, doubled, nested, of another kind, or with bytes of no character. */
function garbled(text: string): string {
  switch (next(8)) {
    case 0:
      return text.slice(0, next(text.length))
    case 1:
      return `${text}${text}`
    case 2:
      return '['.repeat(20_000)
    case 3:
      return JSON.stringify([null, { hook_event_name: { toString: 7 } }])
    case 4:
      return text.replaceAll(/[a-z]{4}/g, () => String.fromCodePoint(0xd7ff - next(4000)))
    case 5:
      return text.replaceAll('"', () => (next(3) === 0 ? '\u0000' : '"'))
    case 6:
      return `{"hook_event_name":"Stop","__proto__":{"x":1},"session_id":${'9'.repeat(next(500) + 1)},"tool_input":[[[]]]}`
    default:
      return text
  }
}
