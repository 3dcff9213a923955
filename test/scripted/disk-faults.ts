import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import { isAlive } from '../e2e/stage.ts'
import type { Disk } from '../support/disk.ts'
import type { ScriptedFleet } from './fleet.ts'
import type { Damage } from './judge.ts'
import { ledgerNow } from './ledger.ts'

/** What a fault of the disk may have cost; see `Damage`. */
type Cost = { trouble?: NonNullable<Damage['troubles']>[number]; destroyedAt?: number }

/** A fault of the disk under a fleet's home, and whether the daemon ends with it. */
type DiskFault = {
  name: string
  strike: (fleet: ScriptedFleet, disk: Disk) => Promise<Cost>
  endsDaemon: boolean
}

/** A hook that cannot write goes on for 5 s behind its client's back, and may have been held up in the kernel before. */
const HOOK_GIVES_UP_MS = 10_000
const FULL_MS = 8000
const PAGE = 4096

export const DISK_FAULTS: DiskFault[] = [
  {
    name: 'disk full for 8 s',
    strike: (_, disk) =>
      trouble(async () => {
        await disk.fill()
        await sleep(FULL_MS)
        disk.free()
      }),
    endsDaemon: false,
  },
  {
    name: 'disk full for 8 s, the reserve taken by others',
    strike: (_, disk) =>
      trouble(async () => {
        await keepFull(disk)
        disk.free()
      }),
    endsDaemon: false,
  },
  {
    name: 'disk full, and the daemon killed and started on it',
    strike: (fleet, disk) =>
      trouble(async () => {
        await keepFull(disk)
        await fleet.crash()
        await fleet.stage.ccm(['start'])
        disk.free()
      }),
    endsDaemon: true,
  },
  {
    name: 'disk frozen for 6 s',
    strike: (_, disk) =>
      trouble(async () => {
        disk.freeze()
        await sleep(6000)
        disk.thaw()
      }),
    endsDaemon: false,
  },
  {
    name: 'disk frozen beyond the watchdog',
    strike: (fleet, disk) =>
      trouble(async () => {
        const pid = fleet.pidOfDaemon()
        disk.freeze()
        await sleep(16_000)
        disk.thaw()
        // It was told to die while the kernel held it.
        for (let tries = 0; isAlive(pid) && tries < 20; tries++) await sleep(100)
      }),
    endsDaemon: true,
  },
  {
    name: 'disk read-only where the spools are for 5 s',
    strike: ({ stage }, disk) =>
      trouble(async () => {
        const undo = await disk.protect(join(stage.home, 'attempts'))
        await sleep(5000)
        await undo()
      }),
    endsDaemon: false,
  },
  {
    name: 'disk without the database: deleted under the daemon',
    async strike({ stage }) {
      for (const name of databaseIn(stage.home)) rmSync(join(stage.home, name))
      while (!existsSync(join(stage.home, 'ccm.db'))) await sleep(50)
      return {}
    },
    endsDaemon: false,
  },
  {
    name: 'disk with garbage for a database, while the daemon is down',
    async strike(fleet) {
      await fleet.crash()
      const destroyedAt = ledgerNow()
      // Its log too, from which SQLite would heal it.
      for (const name of databaseIn(fleet.stage.home))
        writeFileSync(join(fleet.stage.home, name), 'garbage'.repeat(2000))
      return { destroyedAt }
    },
    endsDaemon: true,
  },
  {
    name: 'disk with a broken page in the database, while the daemon is down',
    async strike(fleet) {
      await fleet.crash()
      const brokenAt = ledgerNow()
      breakPage(join(fleet.stage.home, 'ccm.db'))
      await fleet.up()
      const found = await foundAtStart(fleet)
      // A page that is free costs nothing.
      return found.includes('was unusable') ? { destroyedAt: brokenAt } : {}
    },
    endsDaemon: true,
  },
]

async function trouble(work: () => Promise<void>): Promise<Cost> {
  const from = ledgerNow()
  await work()
  return { trouble: { from, until: ledgerNow() + HOOK_GIVES_UP_MS } }
}

async function keepFull(disk: Disk): Promise<void> {
  for (const until = performance.now() + FULL_MS; performance.now() < until; await sleep(100))
    await disk.fill()
}

function databaseIn(home: string): string[] {
  return readdirSync(home).filter((name) => /^ccm\.db(-wal|-shm)?$/.test(name))
}

/** What the daemon found, as soon as it says so: at its start, on a busy machine, it may take a while to answer. */
async function foundAtStart({ stage }: ScriptedFleet): Promise<string> {
  for (;;) {
    const { found_at_start: found } = (await stage.status()) as Partial<
      Awaited<ReturnType<typeof stage.status>>
    >
    if (found !== undefined) return found.join('\n')
  }
}

/** Any page but the first; nothing of it is in the log, from which SQLite would heal it. */
function breakPage(file: string): void {
  const db = new Sqlite(file)
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()
  const descriptor = openSync(file, 'r+')
  const pages = Math.floor(fstatSync(descriptor).size / PAGE)
  writeSync(
    descriptor,
    Buffer.alloc(PAGE, 0xff),
    0,
    PAGE,
    PAGE * (1 + Math.floor(Math.random() * (pages - 1))),
  )
  closeSync(descriptor)
}
