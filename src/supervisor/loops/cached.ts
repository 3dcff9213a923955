/** An answer that is asked for often and changes seldom. */
export type Cached<T> = {
  /** At most `maxAgeMs` old; where `mayBeOld` says so of an error, the last one, however old, if there is one. */
  get: () => Promise<T>
  /** The last one, however old, without asking; null before the first. */
  last: () => T | null
}

/** Reads again once the answer is older than `maxAgeMs`; those who ask meanwhile share one read. `clock`: only differences count. */
export function createCached<T>(options: {
  read: () => Promise<T>
  maxAgeMs: number
  mayBeOld: (error: unknown) => boolean
  clock: () => number
}): Cached<T> {
  const { read, maxAgeMs, mayBeOld, clock } = options
  let known: { value: T; at: number } | null = null
  let reading: Promise<T> | null = null

  async function readAnew(): Promise<T> {
    const at = clock()
    try {
      const value = await read()
      known = { value, at }
      return value
    } catch (error) {
      if (known === null || !mayBeOld(error)) throw error
      return known.value
    } finally {
      reading = null
    }
  }

  return {
    get: async () => {
      if (known !== null && clock() - known.at < maxAgeMs) return known.value
      return (reading ??= readAnew())
    },
    last: () => known?.value ?? null,
  }
}
