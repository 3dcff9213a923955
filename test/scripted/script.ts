/** How a turn of the scripted agent ends. */
export type ScriptEnd = 'done' | 'error' | 'unmarked' | 'crash' | 'kill' | 'hang'

/** What a prompt tells the scripted agent; everything has a default. */
export type Script = {
  /** One end an attempt, the last one for all that follow. */
  ends?: ScriptEnd[]
  /** How long the turn takes. */
  workMs?: number
  /** Tool calls, spread over that time. */
  tools?: number
  /** Leaves a child in a session of its own that ignores HUP and TERM. */
  child?: boolean
  /** The turn ends at the account's usage limit while this file holds a time (ms since 1970) that is to come. */
  limitFile?: string
  /** Leaves a child in a session of its own that writes this file. */
  childWrites?: string
  /** Repaints its screen ten times a second. */
  chatter?: boolean
  /** Prints that many bytes before it goes on. */
  floodBytes?: number
  /** Asks for a permission before it works. */
  ask?: boolean
  /** Garbage in place of hook payloads, transcript and session file; the same for the same number. */
  garbage?: number
  /** From this attempt on it runs no hook: what it does is told by its transcript alone. */
  muteFrom?: number
  /** Stands on its screen while it works. */
  shows?: string
  /** The turn waits until this file is gone. */
  holdFile?: string
}

const MARK = 'SCRIPT '

/** A prompt that tells the scripted agent what to do. */
export function promptOf(name: string, script: Script): string {
  return `Task ${name}\n${MARK}${JSON.stringify(script)}`
}

/** What a prompt tells; null for a prompt that is none of ours. */
export function readScript(prompt: string): Script | null {
  const line = prompt.split('\n').find((text) => text.startsWith(MARK))
  return line === undefined ? null : (JSON.parse(line.slice(MARK.length)) as Script)
}
