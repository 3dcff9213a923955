/** `note`: worth knowing, and nothing is wrong. A failed one has the sentence that helps. */
export type Check = { name: string; state: 'ok' | 'note' | 'failed'; detail: string; remedy: string | null }

export const ok = (name: string, detail: string): Check => ({ name, state: 'ok', detail, remedy: null })
export const note = (name: string, detail: string, remedy: string | null = null): Check => ({
  name,
  state: 'note',
  detail,
  remedy,
})
export const failed = (name: string, detail: string, remedy: string): Check => ({
  name,
  state: 'failed',
  detail,
  remedy,
})
