/** One word for a POSIX shell: the text itself, whatever it holds but NUL. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
