import type { OutsideText } from './outside-text.ts'
import { OWN_MARK } from './reply.ts'

/** Events of GitHub that may become tasks. */
export const GITHUB_EVENTS = [
  'issues',
  'issue_comment',
  'pull_request',
  'pull_request_review',
  'check_run',
  'workflow_run',
  'push',
] as const
export type GithubEventName = (typeof GITHUB_EVENTS)[number]

/** What a delivery says, as far as it can become a task. */
export type GithubEvent = {
  event: GithubEventName
  action: string
  /** `owner/name`, in GitHub's alphabet. */
  repository: string
  /** Of the issue or pull request; null where there is none. */
  number: number | null
  sender: string
  /** Whoever wrote the text may write to the repository. */
  trusted: boolean
  association: string
  labels: string[]
  branch: string | null
  url: string
  /** One line for a person. */
  title: string
  texts: OutsideText[]
  /** Of a comment that starts with `/ccm`: the words after it. */
  command: string | null
}

/** Who may write to the repository, as GitHub itself says. */
const TRUSTED = ['OWNER', 'MEMBER', 'COLLABORATOR']
const DEFAULT_ACTIONS: Record<GithubEventName, readonly string[]> = {
  issues: ['opened', 'reopened'],
  issue_comment: ['created'],
  pull_request: ['opened', 'reopened', 'ready_for_review'],
  pull_request_review: ['submitted'],
  check_run: ['completed'],
  workflow_run: ['completed'],
  push: [''],
}
/** What starts a workflow at the word of somebody who may write; others, such as `issues`, hand on a stranger's text. */
const TRUSTED_STARTS = ['push', 'schedule', 'workflow_dispatch', 'merge_group', 'pull_request']
const FAILED = ['failure', 'timed_out', 'startup_failure']

/** Reads a delivery whose signature was good; `ignored` says why it can become no task. Never throws. */
export function readGithubEvent(name: string, payload: unknown): GithubEvent | { ignored: string } {
  const event = GITHUB_EVENTS.find((known) => known === name)
  if (event === undefined)
    return { ignored: `events of the kind ${/^\w{1,40}$/.test(name) ? name : '?'} are not used` }
  const root = objectOf(payload)
  const repository = textOf(objectOf(root['repository'])['full_name'])
  if (!/^[\w.-]{1,100}\/[\w.-]{1,100}$/.test(repository)) return { ignored: 'it names no repository' }
  const sender = objectOf(root['sender'])
  const login = loginOf(sender)
  if (textOf(sender['type']) === 'Bot' || login.endsWith('[bot]')) return { ignored: 'it comes from a bot' }
  const base = {
    event,
    action: textOf(root['action']),
    repository,
    sender: login,
    command: null,
    branch: null,
  }
  return READ[event](root, base)
}

type Base = Pick<GithubEvent, 'event' | 'action' | 'repository' | 'sender' | 'command' | 'branch'>
type Row = Record<string, unknown>
type Reader = (root: Row, base: Base) => GithubEvent | { ignored: string }

const READ: Record<GithubEventName, Reader> = {
  issues: (root, base) => about('issue', objectOf(root['issue']), base),
  pull_request: (root, base) => {
    const pull = objectOf(root['pull_request'])
    return { ...about('pull request', pull, base), branch: textOf(objectOf(pull['head'])['ref']) || null }
  },
  issue_comment(root, base) {
    const comment = objectOf(root['comment'])
    const body = textOf(comment['body'])
    if (body.includes(OWN_MARK)) return { ignored: 'it is a comment of ccm itself' }
    const [, command] = /^\s*\/ccm(?:\s+([^]*))?$/.exec(body) ?? []
    if (!/^\s*\/ccm(\s|$)/.test(body)) return { ignored: 'the comment is no /ccm command' }
    const issue = about('issue', objectOf(root['issue']), base)
    const { by, ...author } = written(comment)
    return {
      ...issue,
      ...author,
      command: (command ?? '').trim(),
      url: textOf(comment['html_url']),
      title: `/ccm on ${base.repository}#${issue.number ?? '?'}`,
      texts: [
        ...issue.texts,
        {
          from: `the comment on GitHub issue ${base.repository}#${issue.number ?? '?'}`,
          by,
          text: body,
          isRequest: author.trusted,
        },
      ],
    }
  },
  pull_request_review(root, base) {
    const review = objectOf(root['review'])
    const pull = about('pull request', objectOf(root['pull_request']), base)
    const body = textOf(review['body'])
    if (body.includes(OWN_MARK)) return { ignored: 'it is a review of ccm itself' }
    const { by, ...author } = written(review)
    return {
      ...pull,
      ...author,
      branch: textOf(objectOf(objectOf(root['pull_request'])['head'])['ref']) || null,
      url: textOf(review['html_url']),
      title: `Review (${textOf(review['state'])}) of ${base.repository}#${pull.number ?? '?'}`,
      texts: [
        ...pull.texts,
        {
          from: `the review (${textOf(review['state'])}) of pull request ${base.repository}#${pull.number ?? '?'}`,
          by,
          text: body,
        },
      ],
    }
  },
  check_run(root, base) {
    const check = objectOf(root['check_run'])
    if (!FAILED.includes(textOf(check['conclusion']))) return { ignored: 'the check did not fail' }
    const suite = objectOf(check['check_suite'])
    // GitHub names no branch where the commit is of a fork.
    const branch = textOf(suite['head_branch']) || null
    // What strangers can start runs on the default branch, and a check of GitHub Actions does not say what started it.
    const isUnknown =
      textOf(objectOf(check['app'])['slug']) === 'github-actions' &&
      branch === objectOf(root['repository'])['default_branch']
    const output = objectOf(check['output'])
    const text = [
      textOf(check['name']),
      textOf(output['title']),
      textOf(output['summary']),
      textOf(output['text']),
    ]
    return failed('check', base, {
      number: numberOf(objectOf(listOf(check['pull_requests'])[0])['number']),
      branch,
      trusted: branch !== null && !isUnknown,
      url: textOf(check['html_url']),
      text: text.filter((part) => part !== '').join('\n'),
    })
  },
  workflow_run(root, base) {
    const run = objectOf(root['workflow_run'])
    if (!FAILED.includes(textOf(run['conclusion']))) return { ignored: 'the workflow did not fail' }
    const head = textOf(objectOf(run['head_repository'])['full_name'])
    const commit = textOf(objectOf(run['head_commit'])['message'])
    return failed('workflow', base, {
      number: numberOf(objectOf(listOf(run['pull_requests'])[0])['number']),
      branch: textOf(run['head_branch']) || null,
      trusted: head === base.repository && TRUSTED_STARTS.includes(textOf(run['event'])),
      url: textOf(run['html_url']),
      text: `${textOf(run['name'])}\n${textOf(run['display_title'])}\n${commit}`.trim(),
    })
  },
  push(root, base) {
    if (root['deleted'] === true) return { ignored: 'a branch was deleted' }
    const [, branch] = /^refs\/heads\/(.+)$/.exec(textOf(root['ref'])) ?? []
    if (branch === undefined) return { ignored: 'it is no push to a branch' }
    const commits = listOf(root['commits']).map(objectOf).slice(0, 50)
    const lines = commits.map(({ id, message }) => `${textOf(id).slice(0, 12)} ${textOf(message)}`)
    return {
      ...base,
      number: null,
      trusted: true,
      association: 'COLLABORATOR',
      labels: [],
      branch,
      url: textOf(root['compare']),
      title: `Push to ${base.repository}`,
      texts: [
        {
          from: `the commits pushed to ${base.repository} (${branch})`,
          by: base.sender,
          text: lines.join('\n'),
        },
      ],
    }
  },
}

function about(kind: 'issue' | 'pull request', row: Row, base: Base): GithubEvent {
  const { by, ...author } = written(row)
  const number = numberOf(row['number'])
  const text = `${textOf(row['title'])}\n\n${textOf(row['body'])}`
  return {
    ...base,
    ...author,
    number,
    labels: listOf(row['labels']).map((label) => textOf(objectOf(label)['name'])),
    url: textOf(row['html_url']),
    title: `${base.repository}#${number ?? '?'}: ${textOf(row['title'])}`,
    texts: [{ from: `the GitHub ${kind} ${base.repository}#${number ?? '?'}`, by, text }],
  }
}

function failed(
  kind: string,
  base: Base,
  of: Pick<GithubEvent, 'number' | 'branch' | 'trusted' | 'url'> & { text: string },
): GithubEvent {
  const { text, ...rest } = of
  return {
    ...base,
    ...rest,
    association: rest.trusted ? 'COLLABORATOR' : 'NONE',
    labels: [],
    title: `Failed ${kind} in ${base.repository}`,
    texts: [{ from: `the failed ${kind} in ${base.repository}`, by: null, text }],
  }
}

function written(row: Row): { by: string; trusted: boolean; association: string } {
  const association = textOf(row['author_association']) || 'NONE'
  return { by: loginOf(objectOf(row['user'])), trusted: TRUSTED.includes(association), association }
}

/** What of GitHub becomes a task: empty lists match everything, an empty `action` the usual ones. */
export type GithubRule = {
  /** `owner/name`, `owner/*` or `*`. */
  repository: string
  event: readonly GithubEventName[]
  action: readonly string[]
  /** At least one of them must be on the issue. */
  labels: readonly string[]
  authorAssociation: readonly string[]
  branch: readonly string[]
  project: string
  template: string | null
  /** Who waits for a person: nobody, those who may not write to the repository, everybody. */
  approve: 'never' | 'strangers' | 'always'
}

/** The first rule that matches, or null. */
export function githubRuleFor(event: GithubEvent, rules: readonly GithubRule[]): GithubRule | null {
  const any = (list: readonly string[], values: readonly string[]) =>
    list.length === 0 || list.some((one) => values.includes(one))
  const actionsOf = (rule: GithubRule) =>
    rule.action.length > 0
      ? rule.action
      : [...DEFAULT_ACTIONS[event.event], ...(rule.labels.length > 0 ? ['labeled'] : [])]
  const owner = event.repository.split('/', 1)[0]
  const repository = (given: string) =>
    given === '*' ||
    [event.repository, `${owner}/*`].some((name) => name.toLowerCase() === given.toLowerCase())
  const found = rules.find(
    (rule) =>
      repository(rule.repository) &&
      any(rule.event, [event.event]) &&
      actionsOf(rule).includes(event.action) &&
      any(rule.labels, event.labels) &&
      any(rule.authorAssociation, [event.association]) &&
      any(rule.branch, event.branch === null ? [] : [event.branch]),
  )
  return found ?? null
}

function objectOf(value: unknown): Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Row) : {}
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null
}

function loginOf(row: Row): string {
  const login = textOf(row['login'])
  return /^[\w.-]{1,100}(\[bot\])?$/.test(login) ? login : 'unknown'
}
