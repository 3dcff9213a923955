import type { PermissionMode } from './task.ts'

/** What an agent may do without being asked. Null mode: whatever stands below it. */
export type Rights = { permissionMode: PermissionMode | null; allowedTools: readonly string[] }

/** Fewest rights first: `plan` changes nothing, `dontAsk` refuses what no rule allows, `manual` asks for it. */
const ORDER: readonly PermissionMode[] = [
  'plan',
  'dontAsk',
  'manual',
  'acceptEdits',
  'auto',
  'bypassPermissions',
]

/** Why `asked` is more than `limit`, as a sentence, or null when it only narrows it. */
export function widening(asked: Rights, limit: Rights & { permissionMode: PermissionMode }): string | null {
  const mode = asked.permissionMode
  if (mode !== null && ORDER.indexOf(mode) > ORDER.indexOf(limit.permissionMode))
    return `The permission mode ${mode} is more than ${limit.permissionMode}, which this machine allows here.`
  const tool = asked.allowedTools.find((rule) => !limit.allowedTools.includes(rule))
  return tool === undefined
    ? null
    : `The rule ${JSON.stringify(tool)} allows more than this machine does here.`
}

/** `asked` without what is more than `limit`. */
export function narrowed(asked: Rights, limit: Rights & { permissionMode: PermissionMode }): Rights {
  const mode = asked.permissionMode
  const wide = mode !== null && ORDER.indexOf(mode) > ORDER.indexOf(limit.permissionMode)
  return {
    permissionMode: wide ? limit.permissionMode : mode,
    allowedTools: asked.allowedTools.filter((rule) => limit.allowedTools.includes(rule)),
  }
}
