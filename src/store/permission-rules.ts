import { CcmError } from '../core/errors.ts'
import { ruleFault, type PermissionRule, type RuleEffect } from '../core/permission/permission-rule.ts'
import type { Database } from './database.ts'

/** A rule and its place among those of its project: what was added later has a higher one. */
export type PlacedRule = PermissionRule & { place: number }

/** The permission rules of projects. */
export type PermissionRules = {
  /** Oldest first; [] also for a project that does not exist. */
  of: (project: string) => PermissionRule[]
  /** The same with their places, which stay whatever comes and goes. */
  placed: (project: string) => PlacedRule[]
  /**
   * Sets and removes rules of an existing project, all or none; a rule that is there takes the new effect.
   * Throws BAD_INPUT for a text that is no rule, NOT_FOUND for one to remove that is not there.
   */
  change: (project: string, changes: { set: readonly PermissionRule[]; remove: readonly string[] }) => void
}

/** More rules than this are no help to anybody, and each request looks at all of them. */
const RULES_MAX = 500

/** Permission rules on the local database. */
export function createPermissionRules(db: Database): PermissionRules {
  const all = db.prepare<{ project: string }, { effect: RuleEffect; rule: string }>(
    'SELECT effect, rule FROM permission_rules WHERE project = :project ORDER BY id',
  )
  const placed = db.prepare<{ project: string }, PlacedRule>(
    'SELECT effect, rule, id AS place FROM permission_rules WHERE project = :project ORDER BY id',
  )
  const set = db.prepare<PermissionRule & { project: string }>(
    `INSERT INTO permission_rules (project, effect, rule) VALUES (:project, :effect, :rule)
     ON CONFLICT (project, rule) DO UPDATE SET effect = excluded.effect`,
  )
  const remove = db.prepare<{ project: string; rule: string }>(
    'DELETE FROM permission_rules WHERE project = :project AND rule = :rule',
  )

  return {
    of: (project) => all.all({ project }),
    placed: (project) => placed.all({ project }),
    change: (project, changes) =>
      db.transaction(() => {
        for (const rule of changes.remove) {
          if (remove.run({ project, rule }) === 0) {
            throw new CcmError('NOT_FOUND', `The project ${project} has no rule ${JSON.stringify(rule)}.`, {
              remedy: `See its rules: ccm projects rules ${project}`,
            })
          }
        }
        for (const { effect, rule } of changes.set) {
          const fault = ruleFault(rule)
          if (fault !== null) throw new CcmError('BAD_INPUT', `${JSON.stringify(rule)} is no rule. ${fault}`)
          set.run({ project, effect, rule })
        }
        if (all.all({ project }).length > RULES_MAX)
          throw new CcmError('BAD_INPUT', `A project has at most ${RULES_MAX} rules.`)
      }),
  }
}
