import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { isAlive } from '../e2e/stage.ts'
import { createScriptedFleet } from '../scripted/fleet.ts'
import { eventually } from './fixture.ts'

/** A user without anything: the limit of processes counts for everybody but root. */
const NOBODY = 61_234

const isRoot = process.getuid?.() === 0
const reason = isRoot ? '' : ' [only root can become another user]'

/** Threads count as processes here. */
const tasksOf = (uid: number) =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .reduce((sum, name) => {
      try {
        const status = readFileSync(`/proc/${name}/status`, 'utf8')
        const isOurs = new RegExp(`^Uid:\\s+${uid}\\s`, 'm').test(status)
        return isOurs ? sum + Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1]) : sum
      } catch {
        return sum
      }
    }, 0)

test.skipIf(!isRoot)(
  `a user who may start no more processes: nothing is lost, and all of it is done when there is room again${reason}`,
  async () => {
    await using fleet = await createScriptedFleet({ dirs: 6, asUser: NOBODY })
    await fleet.up()
    const pid = fleet.pidOfDaemon()
    const server = Number(await fleet.stage.tmux('display-message', '-p', '#{pid}'))
    // As that user: root of a container may lack the right over others' limits.
    const limit = (most: number | string) => {
      const as = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups', 'prlimit']
      for (const one of [pid, server])
        execFileSync('setpriv', [...as, '--pid', String(one), `--nproc=${most}:`])
    }
    const before = /^Max processes\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1] ?? ''
    for (let index = 0; index < 12; index++) await fleet.add(`fork${index}`, { workMs: 500 })
    await eventually('some work', () => fleet.living().length >= 2, 40_000)
    limit(tasksOf(NOBODY))
    await sleep(6000)
    expect(isAlive(pid)).toBe(true)
    limit(before)
    await fleet.over(120_000)
    const faults = await fleet.faults()
    const lost = faults.filter((fault) => fault.includes('were sent and are not stored'))
    expect(faults.filter((fault) => !lost.includes(fault))).toEqual([])
    // A hook that may start no process keeps nothing, and not every shell lets it count what it lost. Only the
    // attempts that ran without processes are concerned.
    expect(lost.length).toBeLessThanOrEqual(6)
    expect(fleet.pidOfDaemon()).toBe(pid)
    const { succeeded = 0, failed = 0 } = fleet.counts()
    expect(succeeded + failed).toBe(12)
    expect(succeeded).toBeGreaterThan(0)
  },
)
