import type { InboxEntry } from '../../src/core/outside/inbox.ts'
import type { Template } from '../../src/core/task/template.ts'
import { createTemplates } from '../../src/daemon/templates.ts'
import type { AppDeps } from '../../src/http/deps.ts'
import type { RightsLimit } from '../../src/supervisor/shared/shared-queue.ts'

/** An inbox of arrays: with what is given in it. */
export function createFakeInbox(entries: InboxEntry[] = []): AppDeps['inbox'] {
  const of = (id: number) => entries.find((entry) => entry.id === id) ?? null
  const change = (id: number, changes: Partial<InboxEntry>) => {
    const entry = of(id)
    return entry === null ? null : Object.assign(entry, changes)
  }
  return {
    list: async ({ state, projects = null }) =>
      entries.filter(
        (entry) =>
          (state === null || entry.state === state) &&
          (projects === null || projects.includes(entry.project)),
      ),
    get: async (id) => of(id),
    approve: async (id, decidedBy) => change(id, { state: 'pending', decidedBy }),
    refuse: async (id, decidedBy, reason) => change(id, { state: 'refused', decidedBy, reason }),
  }
}

export const GITHUB_SECRET = 'github-secret'

/** Rules by which everything that is signed or has the token counts. */
export function anyHooks(action: string[] = []): Pick<AppDeps['webhooks'], 'github' | 'prometheus'> {
  const rule = { project: 'app', template: null }
  const empty = { event: [], labels: [], authorAssociation: [], branch: [] }
  return {
    github: {
      secret: GITHUB_SECRET,
      rules: [{ ...rule, ...empty, repository: '*', action, approve: 'strangers' }],
    },
    prometheus: {
      token: 'prometheus-token',
      basic: null,
      maxOpen: 10,
      rules: [{ ...rule, match: {}, approve: 'never' }],
    },
  }
}

/** A template with two variables. */
export const REVIEW: Template = {
  name: 'review',
  description: 'Reads a branch',
  prompt: 'Review {{branch}}, {{depth}}.',
  variables: {
    branch: { type: 'text', required: true, default: null, choices: [] },
    depth: { type: 'choice', required: true, default: 'quick', choices: ['quick', 'deep'] },
  },
  role: null,
  model: null,
  permissionMode: 'plan',
  allowedTools: ['Bash(git log:*)'],
  disallowedTools: [],
  timeoutS: 600,
  maxTokens: null,
  maxCostUsd: null,
  restricted: false,
}

/** The one lookup of the daemon over these files, and over a database that ends with the test. */
export function fakeTemplates(
  file: Template[] = [REVIEW],
  more: {
    stored?: AppDeps['templates']['stored']
    supabase?: Template[] | (() => Promise<readonly Template[]>)
    limit?: RightsLimit
  } = {},
): AppDeps['templates'] {
  const { supabase } = more
  return createTemplates({
    config: { templates: file, outside: { permissionMode: 'dontAsk', allowedTools: ['Bash(npm test:*)'] } },
    stored: more.stored ?? createTemplatesInMemory(),
    shared: supabase === undefined ? null : typeof supabase === 'function' ? supabase : async () => supabase,
    projects: { byName: () => null, byDir: () => null },
    limitOf: () =>
      more.limit ?? { permissionMode: 'acceptEdits', allowedTools: ['Bash(npm test:*)'], inPlace: false },
  })
}

/** Templates that end with the test. */
function createTemplatesInMemory(): AppDeps['templates']['stored'] {
  const templates = new Map<string, Template>()
  const put = (template: Template) => void templates.set(template.name, template)
  return {
    list: () => [...templates.values()],
    add: (template) => !templates.has(template.name) && (put(template), true),
    put,
    remove: (name) => templates.delete(name),
  }
}

/** All webhooks with their secrets; nothing comes of what they accept. */
export function fakeWebhooks(changes: Partial<AppDeps['webhooks']> = {}): AppDeps['webhooks'] {
  return {
    github: { secret: GITHUB_SECRET, rules: [] },
    prometheus: { token: 'prometheus-token', basic: 'am:password', rules: [], maxOpen: 10 },
    telegram: { secret: 'telegram-secret', handle: async () => undefined },
    accept: () => [],
    byKey: () => null,
    cameAgain: () => undefined,
    alertEnds: { note: () => undefined, isOver: () => false },
    originOf: () => null,
    openOf: async () => [],
    noteOver: async () => undefined,
    countOpen: () => 0,
    countWaiting: () => ({ all: 0, own: 0 }),
    end: async () => false,
    boundary: () => '0123456789abcdef0123456789abcdef',
    ...changes,
  }
}
