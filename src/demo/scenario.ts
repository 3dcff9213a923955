import type { ModelScript } from './model.ts'

/** What the demo asks for. */
export const DEMO_PROMPT = 'The test fails: run "sh test.sh" to see it. Find out why and repair it.'

/** The only command the scripted agent runs. */
export const DEMO_TEST = 'sh test.sh'

/** The files of the demo's small project, by name. `sum` starts at 1: that is the fault. */
export const DEMO_FILES: Record<string, string> = {
  'total.sh': `# Prints the sum of its arguments.
sum=1
for number in "$@"; do
  sum=$((sum + number))
done
echo "$sum"
`,
  'test.sh': `got=$(sh total.sh 2 3)
if [ "$got" = 5 ]; then
  echo "ok: 2 + 3 = 5"
else
  echo "FAILED: 2 + 3 gave $got, expected 5"
  exit 1
fi
`,
}

/**
 * The script that takes the place of the model: reads the program in its own directory, wherever that is, repairs
 * it, runs the test and is done, or says that it failed when the test says so.
 */
export function createDemoScript(): ModelScript {
  const file = 'total.sh'
  return ({ turn, toolResults }) => {
    switch (turn) {
      case 0:
        return {
          kind: 'message',
          text: 'I read the program that the test calls.',
          tools: [{ name: 'Read', input: { file_path: file } }],
        }
      case 1:
        return {
          kind: 'message',
          text: 'The sum starts at 1 instead of 0.',
          tools: [{ name: 'Edit', input: { file_path: file, old_string: 'sum=1', new_string: 'sum=0' } }],
        }
      case 2:
        return {
          kind: 'message',
          text: 'Now the test.',
          tools: [{ name: 'Bash', input: { command: DEMO_TEST, description: 'Run the test' } }],
        }
      default: {
        const passed = toolResults.some(({ text, isError }) => !isError && text.includes('ok: 2 + 3 = 5'))
        const text = passed
          ? 'The sum in total.sh started at 1. It starts at 0 now, and the test passes.\n\n[DONE]'
          : '[ERROR] The test still fails.'
        return { kind: 'message', text }
      }
    }
  }
}
