import { parse as parseToml } from 'smol-toml'

/** A rule that lets agents run one command of the project, with any arguments, without asking. */
export type SuggestedRule = {
  /** As Claude Code takes it: `Bash(npm run test:*)`. A second command chained to it is still asked for. */
  rule: string
  command: string
  /** Where the command was found, and what it stands for where that is written there. */
  from: string
}

/** Files that tell a project's commands. They are read as data; nothing of the project runs. */
export const TELLING_FILES = [
  'package.json',
  'package-lock.json',
  'pnpm-lock.yaml',
  'yarn.lock',
  'bun.lock',
  'bun.lockb',
  'GNUmakefile',
  'makefile',
  'Makefile',
  'justfile',
  '.justfile',
  'Justfile',
  'pyproject.toml',
  'pytest.ini',
  'tox.ini',
  'ruff.toml',
  '.ruff.toml',
  'Cargo.toml',
  'go.mod',
  'gradlew',
  'build.gradle',
  'build.gradle.kts',
  'mvnw',
  'pom.xml',
  '.git',
]

/** A name that is one word for every shell and for Claude Code's rules. */
const PLAIN_NAME = /^[A-Za-z0-9][\w.:-]{0,59}$/
const WANTED = /^(test|tests|lint|build|check|typecheck|type-check|format|fmt|unit|spec)([:._-].*)?$/
/** Ends by itself and leaves nothing outside the project: what watches, serves or publishes does neither. */
const UNWANTED = /watch|serve|start|dev$|publish|deploy|release|push|install/

/**
 * Commands that test, lint, build and commit this project, found in the text of its own files; a folder or
 * an unreadable file counts as an empty text. What cannot be parsed suggests nothing.
 */
export function suggestRules(files: ReadonlyMap<string, string>): SuggestedRule[] {
  const found = [
    ...ofPackageJson(files),
    ...ofMakefile(files),
    ...ofJustfile(files),
    ...ofPython(files),
    ...ofOthers(files),
    ...(files.has('.git') ? [allow('git add', '.git'), allow('git commit', '.git')] : []),
  ]
  return found.filter(({ rule }, index) => found.findIndex((other) => other.rule === rule) === index)
}

function ofPackageJson(files: ReadonlyMap<string, string>): SuggestedRule[] {
  const parsed = parsedOr(JSON.parse, files.get('package.json'))
  const scripts = tableAt(parsed, 'scripts')
  const manager = managerOf(files, parsed)
  return Object.entries(scripts).flatMap(([name, script]) => {
    if (!isWanted(name) || typeof script !== 'string') return []
    const from = `package.json: ${script}`
    const run = allow(`${manager} run ${name}`, from)
    return name === 'test' ? [allow(`${manager} test`, from), run] : [run]
  })
}

function managerOf(files: ReadonlyMap<string, string>, parsed: unknown): string {
  const named = typeof parsed === 'object' && parsed !== null && 'packageManager' in parsed
  const word = named ? /^(npm|pnpm|yarn|bun)@/.exec(String(parsed.packageManager))?.[1] : undefined
  if (word !== undefined) return word
  if (files.has('pnpm-lock.yaml')) return 'pnpm'
  if (files.has('yarn.lock')) return 'yarn'
  return files.has('bun.lock') || files.has('bun.lockb') ? 'bun' : 'npm'
}

function ofMakefile(files: ReadonlyMap<string, string>): SuggestedRule[] {
  // The order in which make itself looks.
  const name = ['GNUmakefile', 'makefile', 'Makefile'].find((file) => files.has(file))
  if (name === undefined) return []
  const targets = [...(files.get(name) ?? '').matchAll(/^([\w.-]+)\s*::?(?!=)/gm)].map(
    (match) => match[1] ?? '',
  )
  return targets.filter(isWanted).map((target) => allow(`make ${target}`, name))
}

function ofJustfile(files: ReadonlyMap<string, string>): SuggestedRule[] {
  const name = ['justfile', '.justfile', 'Justfile'].find((file) => files.has(file))
  if (name === undefined) return []
  const recipes = [...(files.get(name) ?? '').matchAll(/^@?([\w-]+)[^:\n]*:(?!=)/gm)].map(
    (match) => match[1] ?? '',
  )
  return recipes.filter(isWanted).map((recipe) => allow(`just ${recipe}`, name))
}

function ofPython(files: ReadonlyMap<string, string>): SuggestedRule[] {
  const project = parsedOr(parseToml, files.get('pyproject.toml'))
  const tool = tableAt(project, 'tool')
  const asked = files.get('pyproject.toml') ?? ''
  const rules: SuggestedRule[] = []
  const say = (command: string, from: string | undefined) => {
    if (from !== undefined) rules.push(allow(command, from))
  }
  const pytest = files.has('pytest.ini')
    ? 'pytest.ini'
    : 'pytest' in tool || /["']pytest\b/.test(asked)
      ? 'pyproject.toml'
      : undefined
  say('pytest', pytest)
  say('python -m pytest', pytest)
  say('tox', files.has('tox.ini') ? 'tox.ini' : 'tox' in tool ? 'pyproject.toml' : undefined)
  const ruff =
    ['ruff.toml', '.ruff.toml'].find((file) => files.has(file)) ??
    ('ruff' in tool ? 'pyproject.toml' : undefined)
  say('ruff check', ruff)
  say('ruff format', ruff)
  say('mypy', 'mypy' in tool ? 'pyproject.toml' : undefined)
  return rules
}

function ofOthers(files: ReadonlyMap<string, string>): SuggestedRule[] {
  const has = (file: string, ...commands: string[]) =>
    files.has(file) ? commands.map((command) => allow(command, file)) : []
  const gradle = ['build.gradle', 'build.gradle.kts'].find((file) => files.has(file))
  const gradleProgram = files.has('gradlew') ? './gradlew' : 'gradle'
  const mavenProgram = files.has('mvnw') ? './mvnw' : 'mvn'
  return [
    ...has('Cargo.toml', 'cargo test', 'cargo build', 'cargo check', 'cargo clippy', 'cargo fmt'),
    ...has('go.mod', 'go test', 'go build', 'go vet', 'gofmt'),
    ...(gradle === undefined
      ? []
      : ['test', 'check', 'build'].map((task) => allow(`${gradleProgram} ${task}`, gradle))),
    ...has('pom.xml', `${mavenProgram} test`, `${mavenProgram} verify`, `${mavenProgram} compile`),
  ]
}

function allow(command: string, from: string): SuggestedRule {
  return { rule: `Bash(${command}:*)`, command, from }
}

function isWanted(name: string): boolean {
  return PLAIN_NAME.test(name) && WANTED.test(name) && !UNWANTED.test(name)
}

function parsedOr(parse: (text: string) => unknown, text: string | undefined): unknown {
  if (text === undefined) return null
  try {
    return parse(text)
  } catch {
    return null
  }
}

function tableAt(value: unknown, key: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return {}
  const inner = (value as Record<string, unknown>)[key]
  return typeof inner === 'object' && inner !== null && !Array.isArray(inner)
    ? (inner as Record<string, unknown>)
    : {}
}
