import { z } from 'zod'
import { RULE_EFFECTS } from '../core/permission/permission-rule.ts'
import { paged } from './list.ts'

const rule = z.string().min(1).max(1000)

/** Query of `GET /api/projects/:name/rules`: oldest first. */
export const RuleFilter = z.strictObject(paged(['added']))

/** Body of `POST /api/projects/:name/rules`: all of it happens, or nothing; a known rule takes the new effect. */
export const RuleChangesBody = z.strictObject({
  set: z
    .array(z.strictObject({ effect: z.enum(RULE_EFFECTS), rule }))
    .max(500)
    .default([]),
  remove: z.array(rule).max(500).default([]),
})
export type RuleChangesBody = z.input<typeof RuleChangesBody>

/** A permission rule on the wire; deny comes before ask, ask before allow. */
export const PermissionRuleJson = z.object({ effect: z.enum(RULE_EFFECTS), rule: z.string() })
export type PermissionRuleJson = z.output<typeof PermissionRuleJson>
