import type { ModelScript, ScriptedReply } from '../../src/demo/model.ts'

/** Answers with these replies in order of the requests, then with the last one. */
export function inTurn(...replies: ScriptedReply[]): ModelScript {
  let next = 0
  return () => replies[Math.min(next++, replies.length - 1)] ?? { kind: 'hang' }
}

/** A model's message of one text. */
export function says(text: string): ScriptedReply {
  return { kind: 'message', text }
}

/** A model's message that calls one tool. */
export function calls(name: string, input: Record<string, unknown>): ScriptedReply {
  return { kind: 'message', tools: [{ name, input }] }
}

/** A model's message that runs a command. */
export function runs(command: string, more: Record<string, unknown> = {}): ScriptedReply {
  return calls('Bash', { command, description: 'A step', ...more })
}

/** An API error of the kind that Claude Code gets. */
export function refuses(
  status: number,
  type: string,
  message: string,
  headers: Record<string, string> = {},
): ScriptedReply {
  return { kind: 'status', status, type, message, headers }
}
