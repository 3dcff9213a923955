import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { apiErrorKind } from '../core/record/api-error.ts'
import { messageOf } from '../core/errors.ts'
import type { HookEvent } from '../core/agent/hook-event.ts'
import { type Markers, withoutMarker } from '../core/record/marker.ts'
import type { FileChange, TaskResult } from '../core/task/task.ts'
import { mergeToolCalls, toToolCalls } from '../core/record/tool-block.ts'
import { createTranscriptReader, type Transcript } from '../core/record/transcript.ts'
import { type MessageUsage, usageByModel } from '../core/task/usage.ts'
import { changesSince, type Snapshot } from './changes.ts'
import { costOf } from './price.ts'
import { shellQuote } from './shell.ts'

/** What a result is made of. Times are milliseconds since 1970. */
export type ResultSources = {
  dir: string
  configDir: string | null
  /** Null when no session began: there is nothing to resume. */
  claudeSessionId: string | null
  /** From a hook event or `findTranscript`; its subagents' files beside it are read too. */
  transcriptPath: string | null
  /** Transcripts of other sessions that earlier attempts of the task had: what they used counts as well. */
  earlier?: string[]
  /** The attempt's own hook events, oldest first; gone through twice. */
  events: Iterable<HookEvent>
  /** Taken before the agent started; null: no files are named. */
  before: Snapshot | null
  /** What changed, where that is known already; a string says why it is unknown. */
  files?: FileChange[] | string
  /** A shell command that brings `dir` back once it is gone, for whoever resumes by hand. */
  reopen?: string
  markers: Markers
  /** The agent's last message as the Stop hook gave it; empty: the transcript's is taken. */
  message: string
  startedAt: number
  endedAt: number
  attempts: number
  /** Why the attempt did not succeed, if it did not. */
  problem: { kind: string; message: string } | null
  signal?: AbortSignal
}

/**
 * Puts a task's result together. Never throws: what cannot be read is missing, and `errors` says so. Transcripts
 * are streamed, so a file of any size takes the memory of its counts (a line of more than 16 MiB is skipped).
 */
export async function collectResult(sources: ResultSources): Promise<TaskResult> {
  const { dir, events, endedAt } = sources
  const errors: TaskResult['errors'] = []
  const note = (kind: string) => (error: unknown) => {
    errors.push({ kind, message: messageOf(error), at: endedAt })
    return null
  }
  const [transcript, files] = await Promise.all([
    sources.transcriptPath === null
      ? createTranscriptReader(dir).transcript()
      : readTranscriptFiles(sources.transcriptPath, dir).catch(note('transcript')),
    changedFiles(sources).catch(note('files')),
  ])
  const read = transcript ?? createTranscriptReader(dir).transcript()
  const messages = await withEarlier(read.messages, sources.earlier ?? [])
  const cost = await costOf(messages).catch(note('price'))
  for (const { kind, message, at } of read.apiErrors) errors.push({ kind, message, at })
  if (read.apiErrors.length === 0) errors.push(...hookFailures(events))
  const { problem } = sources
  const isKnown = errors.some(({ kind, message }) => kind === problem?.kind && message === problem.message)
  if (problem !== null && !isKnown) errors.push({ ...problem, at: endedAt })
  return {
    text: withoutMarker(sources.message || (read.lastAssistantText ?? ''), sources.markers),
    tools: mergeToolCalls(toToolCalls(events, dir), read.tools).map((call) => call.block),
    files: files ?? [],
    usage: usageByModel(messages),
    // Without a transcript nobody knows what was used: 0 would be a guess.
    cost_usd:
      transcript === null || (sources.transcriptPath === null && sources.claudeSessionId !== null)
        ? null
        : cost,
    duration_ms: Math.max(0, endedAt - sources.startedAt),
    attempts: sources.attempts,
    claude_session_id: sources.claudeSessionId,
    resume_command:
      sources.claudeSessionId === null
        ? null
        : [sources.reopen ?? [], resumeCommand(sources, sources.claudeSessionId)].flat().join(' && '),
    errors: errors.sort((a, b) => a.at - b.at).slice(0, ERRORS_MAX),
  }
}

/** A shell line that opens the session by hand, in the folder and with the config folder it belongs to. */
export function resumeCommand(where: { dir: string; configDir: string | null }, sessionId: string): string {
  const config = where.configDir === null ? '' : `CLAUDE_CONFIG_DIR=${shellQuote(where.configDir)} `
  return `cd ${shellQuote(where.dir)} && ${config}claude --resume ${/^[\w-]+$/.test(sessionId) ? sessionId : shellQuote(sessionId)}`
}

/**
 * The transcript of a session: the path a hook event named, else the file of that name in any project folder of
 * the config folder; null where there is none.
 */
export async function findTranscript(session: {
  path: string | null
  configDir: string | null
  sessionId: string
}): Promise<string | null> {
  if (session.path !== null) return session.path
  const root = session.configDir ?? process.env['CLAUDE_CONFIG_DIR'] ?? join(homedir(), '.claude')
  const projects = join(root, 'projects')
  const name = `${session.sessionId}.jsonl`
  for (const folder of await readdir(projects).catch((): string[] => [])) {
    const files = await readdir(join(projects, folder)).catch((): string[] => [])
    if (files.includes(name)) return join(projects, folder, name)
  }
  return null
}

/** Reads a session's transcript and those of its subagents (`<session>/subagents/agent-*.jsonl`). */
export async function readTranscriptFiles(path: string, dir: string | null): Promise<Transcript> {
  const reader = createTranscriptReader(dir)
  await readLines(path, reader.add)
  const folder = join(path.replace(/\.jsonl$/, ''), 'subagents')
  const subagents = (await readdir(folder).catch((): string[] => [])).filter((name) =>
    /^agent-.*\.jsonl$/.test(name),
  )
  for (const name of subagents.sort()) await readLines(join(folder, name), reader.add)
  return reader.transcript()
}

/** A session that was copied into another one shares its messages: each is counted once. */
async function withEarlier(messages: MessageUsage[], paths: string[]): Promise<MessageUsage[]> {
  const all = new Map<string, MessageUsage>()
  for (const path of paths) {
    const earlier = await readTranscriptFiles(path, null).catch(() => null)
    for (const message of earlier?.messages ?? []) all.set(message.id, message)
  }
  for (const message of messages) all.set(message.id, message)
  return [...all.values()]
}

const ERRORS_MAX = 100
const LINE_MAX_BYTES = 16 * 1024 * 1024

async function changedFiles({ dir, before, files, signal }: ResultSources): Promise<FileChange[]> {
  if (files === undefined && before === null) return []
  const changes =
    files ?? (before === null ? [] : await changesSince(dir, before, { signal, timeoutMs: 20_000 }))
  if (typeof changes === 'string') throw new Error(changes)
  return changes
}

/** Where the transcript names no API error, the hook does. */
function hookFailures(events: Iterable<HookEvent>): TaskResult['errors'] {
  const failures: TaskResult['errors'] = []
  for (const { at, hookEventName, payload } of events) {
    if (hookEventName !== 'StopFailure') continue
    const message = payload.last_assistant_message ?? payload.error ?? 'The API did not answer.'
    failures.push({
      kind: apiErrorKind({ error: payload.error, message }),
      message: message.slice(0, 2000),
      at,
    })
  }
  return failures
}

async function readLines(path: string, take: (line: string) => void): Promise<void> {
  let parts: Buffer[] = []
  let length = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end)
      if (length + piece.length <= LINE_MAX_BYTES) take(Buffer.concat([...parts, piece]).toString('utf8'))
      parts = []
      length = 0
      start = end + 1
    }
    const rest = chunk.subarray(start)
    length += rest.length
    if (length > LINE_MAX_BYTES) parts = []
    else if (rest.length > 0) parts.push(rest)
  }
  if (length <= LINE_MAX_BYTES && length > 0) take(Buffer.concat(parts).toString('utf8'))
}
