import type { Clock } from '../core/clock.ts'
import type { Redactor } from '../core/redact.ts'
import { createAlertEnds } from '../store/alert-ends.ts'
import { createApiKeys } from '../store/api-keys.ts'
import { createAttempts } from '../store/attempts.ts'
import { createAuditLog } from '../store/audit.ts'
import type { Database } from '../store/database.ts'
import { createExpiry } from '../store/expiry.ts'
import { createHookEvents } from '../store/hook-events.ts'
import { createInboxStore } from '../store/inbox.ts'
import { createIncidents } from '../store/incidents.ts'
import { createNotes } from '../store/notes.ts'
import { createOutbox } from '../store/outbox.ts'
import { createPermissionRules } from '../store/permission-rules.ts'
import { createProjects } from '../store/projects.ts'
import { createSchedules } from '../store/schedules.ts'
import { createSearch } from '../store/search.ts'
import { createSpending } from '../store/spending.ts'
import { createWorktrees } from '../store/worktrees.ts'

/** What the daemon keeps, each in tables of its own in the one database. */
export type Stores = ReturnType<typeof createStores>

/** What agents say and show passes through `redactor` before it is stored. */
export function createStores(db: Database, redactor: Redactor, clock: Clock) {
  return {
    projects: createProjects(db),
    rules: createPermissionRules(db),
    attempts: createAttempts(db, redactor),
    hookEvents: createHookEvents(db, redactor),
    search: createSearch(db),
    worktrees: createWorktrees(db, clock),
    spending: createSpending(db),
    outbox: createOutbox(db),
    schedules: createSchedules(db),
    inbox: createInboxStore(db),
    alertEnds: createAlertEnds(db),
    incidents: createIncidents(db, redactor),
    auditLog: createAuditLog(db, clock),
    keys: createApiKeys(db),
    notes: createNotes(db),
    expiry: createExpiry(db),
  }
}
