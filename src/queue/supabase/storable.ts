/**
 * The same value with U+FFFD in place of what no text of PostgreSQL holds: NUL, which tools print, and halves of
 * surrogate pairs, which a cut leaves. One report with such a character would be refused for ever.
 */
export function storable<T>(value: T): T {
  return clean(value) as T
}

function clean(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('\0', '\ufffd').toWellFormed()
  if (Array.isArray(value)) return value.map(clean)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [clean(key), clean(inner)]))
}
