import { closeSync, openSync, writeSync } from 'node:fs'

// Repaints every terminal named on the command line ten times a second, as a full-screen program does: 50
// rows, each time with other text. About 1,560 of the 10,000 cells hold text, as in the fullest hundredth of
// 340 recorded screens of Claude Code (their median is 715). One process for all, so that 100 panes do not cost 100.
const INTERVAL_MS = 100
const ttys = process.argv.slice(2).map((path) => openSync(path, 'w'))
process.once('SIGTERM', () => {
  for (const tty of ttys) closeSync(tty)
  process.exit(0)
})
let frame = 0
setInterval(() => {
  frame++
  const rows = Array.from({ length: 50 }, (_, row) =>
    `${frame} row ${row} `.padEnd(16 + ((row * 17) % 31), `${frame % 10}`),
  )
  const screen = `\x1b[H${rows.map((row) => `${row}\x1b[K`).join('\r\n')}`
  for (const tty of ttys) writeSync(tty, screen)
}, INTERVAL_MS)
