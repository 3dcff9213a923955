/* Frames as the client draws them at 80 columns, for the tests of the screen reader. */

export const RULE = '─'.repeat(80)
export const FOOTER = '  ⏵⏵ bypass permissions on (shift+tab to cycle) · ← for agents'
export const BUSY = '  ⏵⏵ bypass permissions on (shift+tab to cycle) · esc to interrupt · ← for ag…'
export const LOGO =
  ' ▐▛███▛█   Claude Code v2.1.328\n▝▜██████▀  Opus 5.5 · API Usage Billing\n ▝▝   ▝▝   /srv/app\n'
export const OVER = '✻ Worked for 3s · done 10:42 AM'

export function screen(transcript: string, { footer = FOOTER, typed = '' } = {}): string {
  return `${LOGO}\n\n${transcript}\n\n${RULE}\n❯ ${typed}\n${RULE}\n${footer}\n\n\n`
}

/** The client indents each line of a message, but the first, by two columns. */
export function message(text: string): string {
  return `● ${text.split('\n').join('\n  ')}`.replaceAll(/ +$/gm, '')
}

export const PERMISSION = [
  RULE,
  ' Bash command',
  '╌'.repeat(80),
  ' rm -rf dist',
  '╌'.repeat(80),
  ' Do you want to proceed?',
  ' ❯ 1. Yes',
  "   2. Yes, and don't ask again for rm -rf dist commands in a folder with a long na",
  '      me',
  '   3. No',
  '',
  ' Esc to cancel · Tab to amend',
].join('\n')
