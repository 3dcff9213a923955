import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { readScreen } from '../../src/core/screen/screen.ts'
import { DIALOGS, EXITED, START_DIALOGS } from './screen-dialogs.ts'
import { FAILED } from './screen-failures.ts'
import { READY, WORKING, type Scenario } from './screen-scenarios.ts'
import { findClient, onStage, type Format } from './screen-stage.ts'

/*
 * Records the fixtures of screens.test.ts from the installed Claude Code:
 *   npm run record-screens -- [--only NAME] [--out FOLDER]
 * A scenario is played in two formats or one; which, changes from each to the next.
 */
const FORMATS: Format[] = [
  { cols: 200, rows: 50, tui: 'default' },
  { cols: 80, rows: 24, tui: 'fullscreen' },
  { cols: 80, rows: 24, tui: 'default' },
  { cols: 120, rows: 40, tui: 'fullscreen' },
  { cols: 120, rows: 40, tui: 'default' },
  { cols: 200, rows: 50, tui: 'fullscreen' },
]
const SCENARIOS = [...READY, ...WORKING, ...FAILED, ...DIALOGS, ...START_DIALOGS, ...EXITED]

const { values } = parseArgs({ options: { only: { type: 'string' }, out: { type: 'string' } } })
const { path, version } = await findClient()
const out = join(values.out ?? join(import.meta.dirname, 'screens'), version)
if (values.only === undefined) await rm(out, { recursive: true, force: true })

let failures = 0
for (const [index, scenario] of SCENARIOS.entries()) {
  if (values.only !== undefined && scenario.name !== values.only) continue
  for (const offset of scenario.once ? [index % 2] : [0, 1]) {
    const format = FORMATS[(2 * index + offset) % FORMATS.length]
    // tmux 3.3a misses the end of some panes, so a scenario gets a second chance.
    if (format === undefined || (await record(scenario, format)) || (await record(scenario, format))) continue
    failures++
  }
}
process.exitCode = failures > 0 ? 1 : 0

async function record(scenario: Scenario, format: Format): Promise<boolean> {
  const renderer = format.tui === 'default' ? 'classic' : 'fullscreen'
  const suffix = `${format.cols}x${format.rows}-${renderer}`
  try {
    await onStage(path, format, scenario.setup(), async (stage) => {
      await scenario.play(stage, async (answer, name) => {
        const screen = await stage.capture()
        await mkdir(join(out, answer), { recursive: true })
        await writeFile(join(out, answer, `${name}-${suffix}.txt`), screen)
        const { kind, because } = readScreen(screen)
        console.log(`${kind === answer ? 'ok  ' : 'MISS'} ${answer}/${name}-${suffix}: ${kind}, ${because}`)
      })
    })
    return true
  } catch (error) {
    console.error(`${scenario.name} ${suffix}: ${error instanceof Error ? error.message : String(error)}`)
    return false
  }
}
