import { clip } from '../clip.ts'
import type { InboxEntry } from './inbox.ts'
import type { Task } from '../task/task.ts'

/** What became of a message: its id where it can be changed later, or why it did not arrive. */
export type Told = { ref: string | null } | { failed: string; retryAfterMs: number | null; hopeless: boolean }

/** Put into every comment that ccm writes, so that it never answers itself. */
export const OWN_MARK = '<!-- ccm:'

const TEXT_MAX = 30_000

/**
 * What whoever asked should know of a request now, as plain text; the same for the same state. GitHub may show it to
 * everybody: what is wrong with this machine (its paths, what its programs print) is not told there.
 */
export function replyText(
  entry: Pick<InboxEntry, 'id' | 'state' | 'reason' | 'decidedBy' | 'origin'>,
  task: Task | null,
): string {
  const isPublic = entry.origin.kind === 'github'
  const reason = isPublic && entry.decidedBy === null ? '' : (entry.reason ?? '')
  if (entry.state === 'waiting') return `Request ${entry.id} waits for approval. ${reason}`.trim()
  if (entry.state === 'refused') return `Request ${entry.id} was refused. ${reason}`.trim()
  if (task === null) return `Request ${entry.id} is accepted and waits for the queue.`
  const { status, result, error } = task
  const said = clip((result?.text ?? '').trim(), TEXT_MAX)
  const lines = [`Task ${task.id}: ${status}.`]
  if (error !== null)
    lines.push(isPublic && !isOfAgent(task, error) ? `Why: ccm show ${task.id}` : clip(error, 2000))
  if (said !== '') lines.push('', said)
  return lines.join('\n')
}

/** The agent itself said so, by its marker. */
function isOfAgent({ result }: Task, error: string): boolean {
  const all = result?.errors ?? []
  return all.some(({ kind, message }) => kind === 'agent_error' && message === error)
}

/** The same for a comment on GitHub: the agent's own words as a quotation, in which nobody is mentioned. */
export function githubReply(text: string, mark: string): string {
  const [head = '', ...rest] = text.split('\n')
  const quote = rest.map((line) => `> ${line}`.trimEnd()).join('\n')
  // A name after @ would be told, and a reference would link; `<!--` would hide or forge a mark of ours.
  const harmless = `${head}\n\n${quote}`.replaceAll('@', '@\u200b').replaceAll('<!--', '&lt;!--')
  return `${harmless.trim()}\n\n${mark}`
}
