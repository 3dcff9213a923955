/**
 * The prompt as the one positional argument that Claude Code takes, and why it differs, if it does.
 *
 * An argument that begins with `/`, blanks aside, would run as a command of Claude Code's: one line before
 * it makes it text (measured on 2.1.328; `!`, `#` and `-` need nothing, after `--`). Characters that Claude
 * Code drops or changes on their way (ESC and other controls, a lone CR, trailing blanks at the end) reach
 * the agent in a file instead, byte for byte.
 */
export function toArgument(prompt: string, file: string): { argument: string; inFile: boolean } {
  if (isAltered(prompt)) {
    return {
      argument: `Your task is the exact text of the file ${file} (UTF-8, it holds control characters or blanks that a message cannot carry). Read that file first, then carry out what it says.`,
      inFile: true,
    }
  }
  if (prompt.trimStart().startsWith('/'))
    return { argument: `The task is this text:\n${prompt}`, inFile: false }
  return { argument: prompt, inFile: false }
}

function isAltered(prompt: string): boolean {
  // oxlint-disable-next-line no-control-regex -- controls are what is looked for
  return /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(prompt)
}

/** What every agent is told on top of its own instructions, so that its last message says how it ended. */
export function endingInstructions(markers: { done: string; error: string }): string {
  return [
    'You work unattended on one task under a supervisor; nobody reads along.',
    `When the task is completely finished, end your final message with a line of its own that says ${markers.done}`,
    `When it cannot be done, end your final message with a line of its own: ${markers.error} followed by the reason.`,
    'Write neither line before that. If you need a decision from a person, ask it as a question and stop.',
  ].join('\n')
}

/** The one neutral question to an agent whose turn ended without a marker and without a question. */
export function neutralQuestion(markers: { done: string; error: string }): string {
  return `Is the task finished? If it is, answer ${markers.done} on a line of its own. If it is impossible, answer ${markers.error} and the reason on one line. Otherwise go on, or ask what you need to know.`
}
