/** Names of things that are secret whatever they look like. */
const SECRET_NAME = /key|token|secret|passw|credential|auth|cookie/i
/** Shapes of known credentials, private parts of a URL, and long words that nobody would type. */
const SECRET_SHAPE =
  /\b(sk-|sb_|ghp_|gho_|github_pat_|xox[abp]-|AKIA|eyJ[\w-]+\.)|:\/\/[^/\s:@]*:[^/\s@]+@|-----BEGIN|(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{32,}/

/** Whether the value under this name must not be shown. Errs on the secret side. */
export function isSecret(name: string, value: unknown): boolean {
  if (value === '' || value === null || value === undefined) return false
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  // The names of rules and files are no secrets; only what stands in the environment of agents is named by people.
  const named =
    name.startsWith('claude.env.') ||
    /\.(key|token|secret|password)$|_(key|token|secret|password)$/.test(name)
  return (named && SECRET_NAME.test(name.split('.').at(-1) ?? name)) || SECRET_SHAPE.test(text)
}
