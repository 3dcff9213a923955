import { readdirSync } from 'node:fs'
import type { Bench, Row } from './row.ts'

const folder = import.meta.dirname
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts' && file !== 'row.ts')
  .map((file) => file.slice(0, -'.ts'.length))

const json = process.argv.includes('--json')
const wanted = process.argv.slice(2).filter((argument) => argument !== '--json')
const unknown = wanted.filter((name) => !names.includes(name))

if (unknown.length > 0) {
  console.error(`There is no benchmark ${unknown.join(', ')}. There are: ${names.join(', ')}.`)
  process.exitCode = 2
} else {
  const rows: Row[] = []
  for (const name of wanted.length > 0 ? wanted : names) {
    const { bench } = (await import(`./${name}.ts`)) as { bench: Bench }
    rows.push(...(await bench()))
  }
  if (json) console.log(JSON.stringify(rows, null, 2))
  else {
    console.table(
      rows.map(({ name, peer, ours, ratio, unit, goal }) => ({
        name,
        peer: round(peer),
        ours: round(ours),
        ratio: round(ratio),
        unit,
        goal,
      })),
    )
  }
}

function round(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(4))
}
