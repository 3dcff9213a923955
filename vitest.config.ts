import { defineConfig } from 'vitest/config'

// Tests that start the real Claude Code: minutes instead of seconds.
const LONG = ['test/claude/**/*.test.ts', 'test/e2e/**/*.test.ts']
// What dies, is killed, hangs or runs out; many with the real Claude Code, the others with scripted agents.
const FAULTS = 'test/faults/**/*.test.ts'
// Tests on a real PostgreSQL of their own.
const SUPABASE = 'test/supabase/**/*.test.ts'
const RECORDED = 'test/claude/screens.test.ts'

export default defineConfig({
  test: {
    // Two cores are the smallest machine we test on.
    maxWorkers: 2,
    // What a test waits for comes late on a busy machine: vitest's own 10 s and 1 s failed right code.
    hookTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'quick',
          include: ['src/**/*.test.ts', 'test/**/*.test.ts', RECORDED],
          exclude: LONG.filter((pattern) => !pattern.includes('/claude/')).concat(
            'test/claude/!(screens).test.ts',
            SUPABASE,
            FAULTS,
          ),
          testTimeout: 20_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'long',
          include: LONG,
          exclude: [RECORDED],
          testTimeout: 180_000,
          // A real client, tmux and a daemon on a shared machine: one more try, and CI lists who needed it.
          retry: 1,
        },
      },
      {
        extends: true,
        test: {
          name: 'faults',
          include: [FAULTS],
          testTimeout: 180_000,
          retry: 1,
        },
      },
      {
        extends: true,
        test: {
          name: 'supabase',
          include: [SUPABASE],
          testTimeout: 60_000,
          // PostgreSQL, its REST server and daemons on two cores: as above.
          retry: 1,
        },
      },
    ],
    coverage: { provider: 'v8', include: ['src/**'], reporter: ['text-summary', 'json-summary'] },
  },
})
