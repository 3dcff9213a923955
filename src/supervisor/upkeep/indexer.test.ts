import { pino } from 'pino'
import { expect, test } from 'vitest'
import { CcmError } from '../../core/errors.ts'
import { createIndexer } from './indexer.ts'

test('what is indexed can be searched while a full disk takes no more of it', async () => {
  let isFull = true
  let steps = 0
  const warned: string[] = []
  const indexer = createIndexer({
    search: {
      index: () => {
        if (isFull) throw new CcmError('DISK_FULL', 'The disk is full.')
        return steps++ < 1
      },
      tidy: () => false,
      find: () => [],
    },
    logger: pino({ level: 'warn' }, { write: (line: string) => void warned.push(line) }),
  })
  await indexer.caughtUp()
  expect(warned.join()).toContain('search is behind: The disk is full.')
  isFull = false
  await indexer.caughtUp()
  expect(steps).toBe(2)
  await indexer.close()
})
