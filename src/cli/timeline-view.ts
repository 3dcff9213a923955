import type { TimelineJson } from '../protocol/records.ts'
import { showDuration } from './duration.ts'
import { oneLine } from './printable.ts'
import type { Paint } from './terminal.ts'

const FILES_SHOWN = 8
const CALLS_SHOWN = 5
const WAITS_SHOWN = 5

/** What a task's agents spent their time on, as `ccm show` prints it; [] when they did nothing yet. */
export function timelineLines(timeline: TimelineJson, paint: Paint): string[] {
  const { tools, files, longest, waits, lost_events: lost } = timeline
  if (tools.length === 0 && waits.length === 0 && lost === 0) return []
  const lines = ['', paint.bold('Timeline')]
  if (lost > 0) {
    const what = lost === 1 ? '1 hook event' : `${lost} hook events`
    lines.push(
      `  ${paint.red(`lost      ${what} could not be written: what follows lacks them; the disk may be full or read-only`)}`,
    )
  }
  if (tools.length > 0) {
    lines.push(
      `  tools     ${tools
        .slice(0, 12)
        .map(({ tool, calls, failed, total_ms }) => {
          const bad = failed === 0 ? '' : `, ${paint.red(`${failed} failed`)}`
          return `${oneLine(tool, 60)} ${calls}× ${showDuration(total_ms)}${bad}`
        })
        .join(' · ')}`,
    )
  }
  if (files.length > 0) {
    const shown = files.slice(0, FILES_SHOWN).map(({ path, reads, edits, writes }) => {
      const counts = [
        [reads, 'read'],
        [edits, 'edited'],
        [writes, 'written'],
      ] as const
      const what = counts
        .filter(([count]) => count > 0)
        .map(([count, word]) => (count > 1 ? `${word} ${count}×` : word))
      return `    ${oneLine(path)}  ${paint.dim(what.join(', '))}`
    })
    const more = timeline.file_count - shown.length
    lines.push('  files', ...shown, ...(more > 0 ? [paint.dim(`    and ${more} more`)] : []))
  }
  if (longest.length > 0) {
    lines.push('  longest')
    for (const call of longest.slice(0, CALLS_SHOWN)) {
      const what = `${oneLine(call.tool, 60)} ${oneLine(call.what ?? '', 120)}`.trimEnd()
      lines.push(`    ${showDuration(call.duration_ms).padStart(8)}  ${call.failed ? paint.red(what) : what}`)
    }
  }
  if (waits.length > 0) {
    lines.push(`  waits     ${waits.length}, ${showDuration(timeline.waited_ms)} in all`)
    for (const wait of waits.slice(-WAITS_SHOWN)) {
      const ended = wait.ended_at === null ? null : Date.parse(wait.ended_at) - Date.parse(wait.started_at)
      const took = ended === null ? 'still' : showDuration(ended)
      lines.push(`    ${took.padStart(8)}  ${oneLine(wait.reason, 120)}`)
    }
  }
  return lines
}
