import { mkdirSync, writeFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Makes a config folder in which Claude Code starts without a dialog, for an agent with a key or token of
 * its own. Needs nothing of the user's: it also works where claude never ran. An existing `.claude.json`
 * is never touched.
 *
 * The keys are Claude Code's own and undocumented; measured on 2.1.328: `hasCompletedOnboarding` skips the
 * theme picker and a connection check that ignores ANTHROPIC_BASE_URL, `hasTrustDialogAccepted` the trust
 * dialog (of the exact folder or its git top level: a parent's trust stops at a repository's border),
 * `hasClaudeMdExternalIncludesWarningShown` the one about a CLAUDE.md that imports files from outside the
 * project (they stay outside, as without an answer), `customApiKeyResponses` the question about a key in
 * the environment (it names its last 20 characters), and `resumeReturnDismissed` the one whether an old session is to
 * be resumed or a new one begun (read in the program, not measured: it is asked of subscriptions only).
 */
export function seedConfigFolder(
  folder: string,
  options: { apiKey: string | undefined; trusted: string[] },
): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, '.claude.json')
  if (existsSync(file)) return
  const project = { hasTrustDialogAccepted: true, hasClaudeMdExternalIncludesWarningShown: true }
  const settings = {
    hasCompletedOnboarding: true,
    resumeReturnDismissed: true,
    projects: Object.fromEntries(options.trusted.map((dir) => [dir, project])),
    ...(options.apiKey === undefined
      ? {}
      : { customApiKeyResponses: { approved: [options.apiKey.slice(-20)], rejected: [] } }),
  }
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600, flag: 'wx' })
}
