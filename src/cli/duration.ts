const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Reads `90s`, `30m`, `2h`, `1h30m` or `1d` as seconds; null for anything else, also without a unit. */
export function readSeconds(text: string): number | null {
  if (!/^(\d+[smhd])+$/.test(text)) return null
  let seconds = 0
  for (const [, count, unit] of text.matchAll(/(\d+)([smhd])/g))
    seconds += Number(count) * (UNITS[unit ?? ''] ?? 0)
  return Number.isSafeInteger(seconds) ? seconds : null
}

/** Milliseconds for a person: `840 ms`, `12 s`, `3m 05s`, `2h 07m`. */
export function showDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return ms < 9950 ? `${(ms / 1000).toFixed(1)} s` : `${seconds} s`
  const two = (value: number) => String(value).padStart(2, '0')
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`
  return `${Math.floor(seconds / 3600)}h ${two(Math.floor((seconds % 3600) / 60))}m`
}

/** Milliseconds as a clock that runs: `0:07`, `12:34`, `2:07:00`. */
export function showElapsed(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const two = (value: number) => String(value).padStart(2, '0')
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`
}
