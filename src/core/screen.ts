/** A dialog as it stands on the screen. */
export type ScreenDialog = {
  kind:
    | 'permission'
    | 'question'
    | 'plan'
    | 'trust'
    | 'add-dir'
    | 'api-key'
    | 'bypass'
    | 'onboarding'
    | 'limit'
    | 'auto-mode'
    | 'other'
  /** First words, for a person. */
  title: string
  /** Option labels in order, without number and cursor. */
  options: string[]
  /** Index of the option under the cursor; null when there is none. */
  selected: number | null
}

/** What one capture shows. `unknown` is an honest answer; a wrong one is a defect. */
export type Sighting = {
  kind: 'initializing' | 'ready' | 'working' | 'waiting' | 'error' | 'limited' | 'exited' | 'unknown'
  /** What on the screen says so, in a few words. */
  because: string
  /** Present when `kind` is waiting. */
  dialog: ScreenDialog | null
  /** Text in the input box; '' when it is empty; null when no box is on the screen. */
  composer: string | null
}
