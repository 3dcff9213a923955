import { describe } from 'vitest'
import { benchOf, type QueueStore } from './bench.ts'
import { claimContract } from './contract-claim.ts'
import { dependencyContract } from './contract-dependencies.ts'
import { endContract } from './contract-end.ts'
import { insertContract } from './contract-insert.ts'
import { keepContract } from './contract-keep.ts'
import { listContract } from './contract-list.ts'
import { leaseContract } from './contract-lease.ts'

/** The promises that every store of the queue keeps, as tests. `open` gives a new, empty store. */
export function queueContract(name: string, open: () => Promise<QueueStore>): void {
  describe(`${name}: the queue contract`, () => {
    const bench = benchOf(open)
    insertContract(bench)
    leaseContract(bench)
    claimContract(bench)
    dependencyContract(bench)
    endContract(bench)
    keepContract(bench)
    listContract(bench)
  })
}
