import { expect, test } from 'vitest'
import { isRestricted, restrictedSource } from './restricted.ts'
import { narrowed, widening } from './rights.ts'
import { PERMISSION_MODES } from './task.ts'

const LIMIT = { permissionMode: 'acceptEdits', allowedTools: ['Bash(npm test:*)'] } as const

test.each([
  [{ permissionMode: null, allowedTools: [] }, true],
  [{ permissionMode: 'plan', allowedTools: [] }, true],
  [{ permissionMode: 'dontAsk', allowedTools: [] }, true],
  [{ permissionMode: 'manual', allowedTools: [] }, true],
  [{ permissionMode: 'acceptEdits', allowedTools: ['Bash(npm test:*)'] }, true],
  [{ permissionMode: 'auto', allowedTools: [] }, false],
  [{ permissionMode: 'bypassPermissions', allowedTools: [] }, false],
  [{ permissionMode: null, allowedTools: ['Bash'] }, false],
  [{ permissionMode: null, allowedTools: ['Bash(npm test:*)', 'Bash(rm:*)'] }, false],
] as const)('%j within the limit: %s', (asked, within) => {
  expect(widening(asked, LIMIT) === null).toBe(within)
})

test('what is narrowed never widens, whatever was asked', () => {
  const modes = [null, ...PERMISSION_MODES]
  const asked = modes.flatMap((permissionMode) =>
    [[], ['Bash'], ['Bash(npm test:*)', 'Edit']].map((allowedTools) => ({ permissionMode, allowedTools })),
  )
  expect(asked.map((rights) => widening(narrowed(rights, LIMIT), LIMIT))).toEqual(asked.map(() => null))
  expect(narrowed({ permissionMode: 'plan', allowedTools: [] }, LIMIT).permissionMode).toBe('plan')
})

test('the source of a restricted task says so, and is no longer than one may be', () => {
  for (const source of ['api', 'x'.repeat(40)]) {
    const restricted = restrictedSource(source)
    expect([isRestricted({ source: restricted }), restricted.length <= 40]).toEqual([true, true])
    expect(restrictedSource(restricted)).toBe(restricted)
  }
})
