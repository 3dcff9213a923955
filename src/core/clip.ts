/** At most `max` characters, whole code points, with an ellipsis where something was cut. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text.toWellFormed()
  const cut = text.slice(0, max - 1)
  const torn = /[\uD800-\uDBFF]$/.test(cut)
  return `${(torn ? cut.slice(0, -1) : cut).toWellFormed()}…`
}
