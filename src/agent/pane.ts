/** The keys that ccm presses in an agent's window. */
export type Key =
  'Enter' | 'Escape' | 'Up' | 'Down' | 'C-u' | '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8' | '9'

/** One agent's pane, as the agent's watcher needs it. Every function rejects when tmux does not answer. */
export type Pane = {
  capture: () => Promise<string>
  /** Bracketed paste, byte for byte but for control characters; no Enter. */
  paste: (text: string) => Promise<void>
  press: (key: Key) => Promise<void>
  /** True while a person is at this window, with a terminal of their own. */
  isAttended: () => Promise<boolean>
  close: () => Promise<void>
}
