import { expect, test } from 'vitest'
import { suggestRules } from './suggest-rules.ts'

const rulesOf = (files: Record<string, string>) =>
  suggestRules(new Map(Object.entries(files))).map(({ rule }) => rule)

const SCRIPTS = {
  test: 'vitest',
  'test:unit': 'vitest run',
  'test:watch': 'vitest --watch',
  lint: 'eslint .',
  build: 'tsc',
  deploy: 'rm -rf /',
  start: 'node .',
  'lint; rm -rf /': 'x',
  'build $(touch x)': 'x',
  'test)': 'x',
  'test:a; rm -rf /': 'x',
  'lint-$(touch x)': 'x',
  'build:*) Bash(rm': 'x',
}

test('scripts that test, lint and build are suggested; what serves, publishes or has an odd name is not', () => {
  expect(rulesOf({ 'package.json': JSON.stringify({ scripts: SCRIPTS }) })).toEqual([
    'Bash(npm test:*)',
    'Bash(npm run test:*)',
    'Bash(npm run test:unit:*)',
    'Bash(npm run lint:*)',
    'Bash(npm run build:*)',
  ])
})

test.each([
  [{ 'pnpm-lock.yaml': '' }, 'pnpm'],
  [{ 'yarn.lock': '' }, 'yarn'],
  [{ 'bun.lock': '' }, 'bun'],
  [{ 'package-lock.json': '' }, 'npm'],
])('beside %j the scripts are run by %s', (lock, manager) => {
  expect(rulesOf({ 'package.json': '{"scripts":{"lint":"x"}}', ...lock })).toEqual([
    `Bash(${manager} run lint:*)`,
  ])
})

test.each<[string, Record<string, string>, string[]]>([
  [
    'a Makefile',
    { Makefile: 'CHECK := x\ntest: build\n\tgo\nbuild::\nclean:\n\trm x\n%.o: %.c\ntest-all: ; x\n' },
    ['make test', 'make build', 'make test-all'],
  ],
  [
    'a justfile',
    { justfile: 'set shell := ["x"]\n@lint *args:\n  x\nbuild target="a": lint\ndeploy:\n' },
    ['just lint', 'just build'],
  ],
  [
    'pyproject.toml',
    { 'pyproject.toml': '[tool.pytest.ini_options]\n[tool.ruff]\n[tool.mypy]\n' },
    ['pytest', 'python -m pytest', 'ruff check', 'ruff format', 'mypy'],
  ],
  [
    'a dependency on pytest',
    { 'pyproject.toml': '[project]\ndependencies = ["pytest>=8"]\n' },
    ['pytest', 'python -m pytest'],
  ],
  ['tox.ini', { 'tox.ini': '' }, ['tox']],
  [
    'Cargo.toml',
    { 'Cargo.toml': '' },
    ['cargo test', 'cargo build', 'cargo check', 'cargo clippy', 'cargo fmt'],
  ],
  ['go.mod', { 'go.mod': '' }, ['go test', 'go build', 'go vet', 'gofmt']],
  [
    'gradle with its wrapper',
    { 'build.gradle.kts': '', gradlew: '' },
    ['./gradlew test', './gradlew check', './gradlew build'],
  ],
  ['maven', { 'pom.xml': '' }, ['mvn test', 'mvn verify', 'mvn compile']],
  ['a git repository', { '.git': '' }, ['git add', 'git commit']],
])('%s tells its commands', (_name, files, commands) => {
  expect(suggestRules(new Map(Object.entries(files))).map(({ command }) => command)).toEqual(commands)
})

test.each([
  ['{'],
  ['null'],
  ['[]'],
  ['{"scripts":[]}'],
  ['{"scripts":{"test":5}}'],
  ['{"scripts":null,"packageManager":7}'],
])('a package.json of %s suggests nothing and breaks nothing', (text) => {
  expect(rulesOf({ 'package.json': text, 'pyproject.toml': '[[[' })).toEqual([])
})
