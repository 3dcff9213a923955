/**
 * The prompt as the one positional argument that Claude Code takes, and why it differs, if it does.
 *
 * A text that Claude Code would carry out as a command of its own gets one line before it, which makes it
 * text. A text with characters that Claude Code drops or changes on their way reaches the agent in a file
 * instead, byte for byte.
 */
export function toArgument(prompt: string, file: string): { argument: string; inFile: boolean } {
  if (isAltered(prompt)) {
    return {
      argument: `Your task is the exact text of the file ${file} (UTF-8, it holds control characters or other invisible ones that a message cannot carry). Read that file first, then carry out what it says.`,
      inFile: true,
    }
  }
  const isCommand = prompt.trimStart().startsWith('/') || QUITS.test(prompt.trim())
  return { argument: isCommand ? `The task is this text:\n${prompt}` : prompt, inFile: false }
}

/**
 * A text as it may be pasted into the input box: what would run there as a command of Claude Code's or, after
 * `!`, of the shell's gets one line before it. Behind a backslash the Enter would be a newline: that gets a blank, which
 * Claude Code drops (2.1.328).
 */
export function toMessage(text: string): string {
  // As Claude Code sees it: it drops these before it looks.
  const seen = text.replaceAll(new RegExp(INVISIBLE, 'gv'), '')
  const isCommand = /^\s*[/!]/.test(seen) || QUITS.test(seen.trim())
  const message = isCommand ? `The answer is this text:\n${text}` : text
  return seen.endsWith('\\') ? `${message} ` : message
}

// Measured on 2.1.328, as the whole of a prompt: these end Claude Code. As an argument `!`, `#`, `&` and, after
// `--`, also `-` need nothing; in the input box `!` runs a shell command.
const QUITS = /^(?:exit|quit|:q!?|:wq!?)$/

/**
 * Measured on 2.1.328 with every assigned block: dropped are controls but tab and newline, and what no screen
 * shows (zero-width, bidi, fillers, variation selectors, tags); a CR alone and the other line ends become a
 * newline. Kept are CR LF, blanks anywhere, and invisible joiners where they shape a letter or an emoji.
 */
function isAltered(prompt: string): boolean {
  return INVISIBLE.test(prompt.replaceAll(KEPT, ''))
}

const INVISIBLE = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u{1107F}\u{16FE4}]--[\t\n]]/v
const EMOJI = String.raw`\p{Extended_Pictographic}[\uFE0E\uFE0F]?\p{Emoji_Modifier}?`
const SHAPED = ['Arabic', 'Syriac', 'Devanagari', 'Bengali', 'Tamil', 'Sinhala', 'Khmer', 'Myanmar']
  .map((script) => String.raw`\p{Script=${script}}`)
  .join('')
// Narrower than Claude Code's own rule: what is missing here only takes the way through the file.
const KEPT = new RegExp(
  String.raw`\r\n|\p{RGI_Emoji}|${EMOJI}(?:\u200D${EMOJI}){0,8}|(?<=[${SHAPED}])[\u200C\u200D](?=[${SHAPED}])`,
  'gv',
)

/** What every agent is told on top of its own instructions, so that its last message says how it ended. */
export function endingInstructions(markers: { done: string; error: string }): string {
  return [
    'You work unattended on one task under a supervisor; nobody reads along.',
    `When the task is completely finished, end your final message with a line of its own that says ${markers.done}`,
    `When it cannot be done, end your final message with a line of its own: ${markers.error} followed by the reason.`,
    'Write neither line before that. If you need a decision from a person, ask it as a question and stop.',
  ].join('\n')
}

/**
 * What an agent is told that goes on with an interrupted session. What it did before may have happened in part, so it
 * is told to look before it does anything twice.
 */
export function resumePrompt(why: string, markers: { done: string; error: string }): string {
  return [
    `You were interrupted (${why}). Go on with your task where you left off.`,
    'The last thing you did may have happened fully, partly or not at all, and commands you had started were ended: look at what is there before you repeat anything that must not happen twice.',
    `As before, end your final message with a line of its own: ${markers.done} when the task is completely finished, ${markers.error} and the reason when it cannot be done.`,
  ].join('\n')
}

/** The one neutral question to an agent whose turn ended without a marker and without a question. */
export function neutralQuestion(markers: { done: string; error: string }): string {
  return `Is the task finished? If it is, answer ${markers.done} on a line of its own. If it is impossible, answer ${markers.error} and the reason on one line. Otherwise go on, or ask what you need to know.`
}
