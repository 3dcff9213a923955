/** A word of a simple command; `wild` when the shell would still expand a `*`, `?` or `[` in it. */
export type ShellWord = { text: string; wild: boolean }

/**
 * The simple commands of a shell text, each as its words with quotes taken off. Null for everything beyond
 * plain words joined by `&&`, `||`, `;` and `|`: expansions, substitutions, redirections, background jobs,
 * groups, comments, variables set in front, escapes, several lines. What this answers, sh, bash and zsh run
 * exactly so; there is no guess in it.
 */
export function readShellCommand(text: string): ShellWord[][] | null {
  const commands: ShellWord[][] = [[]]
  let word: ShellWord | null = null
  const endWord = (ended: ShellWord | null): null => {
    if (ended !== null) commands.at(-1)?.push(ended)
    return null
  }
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at)
    if (isControl(char)) return null
    if (char === ' ' || char === '\t') {
      word = endWord(word)
    } else if (char === "'" || char === '"') {
      const end = text.indexOf(char, at + 1)
      if (end < 0) return null
      const quoted = text.slice(at + 1, end)
      if (hasControl(quoted) || (char === '"' && /[$`\\!]/.test(quoted))) return null
      word = longer(word, quoted, false)
      at = end
    } else if (char === '&' || char === '|' || char === ';') {
      // `;;`, which belongs to a case, leaves an empty command, and `|&` is caught by the next round.
      const double = char !== ';' && text.charAt(at + 1) === char
      if (char === '&' && !double) return null
      word = endWord(word)
      if (double) at++
      commands.push([])
    } else {
      if (NOT_PLAIN.has(char)) return null
      // `#` begins a comment and `=name` is a path in zsh, each at the start of a word only; `!` turns a status round.
      if (word === null && (char === '#' || char === '=' || char === '!')) return null
      word = longer(word, char, WILD.has(char))
    }
  }
  endWord(word)
  return commands.every(isPlainCommand) ? commands : null
}

/**
 * All words of any shell text, for what `readShellCommand` does not read: those of redirections, blocks and quoted texts,
 * in their order. Null where the shell may make words that do not stand in it: of variables, substitutions and braces.
 */
export function wordsInText(text: string): ShellWord[] | null {
  const plain = text.replaceAll(/\\\r?\n/g, '').replaceAll(/["'\\]/g, '')
  if (/[$`{}]/.test(plain) || hasControl(plain.replaceAll(/[\r\n]/g, ' '))) return null
  const words = plain.split(/[\s;&|()<>]+/).filter((word) => word !== '')
  // One bracket is the command of that name, or itself.
  const isWild = (word: string) => /[*?^~]/.test(word) || (word.includes('[') && word.includes(']'))
  return words.map((word) => ({ text: word, wild: isWild(word) }))
}

const NOT_PLAIN = new Set('$`\\<>(){}')
const WILD = new Set('*?[]^~')

/** Words that are grammar where a command's name is expected. */
const RESERVED = new Set(
  'if then elif else fi for while until do done case esac in function select time coproc repeat foreach end nocorrect noglob [[ ]] - . source eval exec command builtin alias trap'.split(
    ' ',
  ),
)

function isPlainCommand([first]: ShellWord[]): boolean {
  if (first === undefined || first.text === '' || first.wild) return false
  return !first.text.includes('=') && !RESERVED.has(first.text)
}

function longer(word: ShellWord | null, text: string, wild: boolean): ShellWord {
  return { text: (word?.text ?? '') + text, wild: word?.wild === true || wild }
}

function isControl(char: string): boolean {
  const code = char.charCodeAt(0)
  return (code < 32 && char !== '\t') || code === 127
}

function hasControl(text: string): boolean {
  return text.split('').some(isControl)
}
