import { describe, expect, test } from 'vitest'
import { LOGO, PERMISSION, RULE } from './screen-frames.fixture.ts'
import { readScreen } from './screen.ts'

describe('a dialog', () => {
  test('is told with its options, wrapped labels whole, and the one under the cursor', () => {
    expect(readScreen(`${LOGO}\n❯ Go\n\n${PERMISSION}\n`)).toMatchObject({
      kind: 'waiting',
      composer: null,
      dialog: {
        kind: 'permission',
        title: 'Bash command',
        options: ['Yes', expect.stringMatching(/^Yes, and .* long na me$/), 'No'],
        selected: 0,
      },
    })
  })

  test('nobody knows is waited for as other', () => {
    const text = `${LOGO}\n${RULE}\n  Pick a moon\n\n    Io\n  ❯ Europa\n\n  Enter to confirm · Esc to cancel\n`
    expect(readScreen(text)).toMatchObject({
      kind: 'waiting',
      dialog: { kind: 'other', title: 'Pick a moon', options: ['Io', 'Europa'], selected: 1 },
    })
  })

  // Drawn by hand from the program's own words: only a subscription's old session brings it.
  test.each(['  ❯ 1. Resume\n    2. Start a new conversation', '  ❯ Resume\n    Start a new conversation'])(
    'about an old session is a person’s to answer: %s',
    (options) => {
      const text = `  Resume this conversation?\n\n  This conversation has been inactive for 3h 12m and is 182.4k tokens long.\n\n${options}\n\n  Enter to confirm · Esc to resume\n`
      expect(readScreen(`${LOGO}\n${RULE}\n${text}`)).toMatchObject({
        kind: 'waiting',
        composer: null,
        dialog: { kind: 'other', options: ['Resume', 'Start a new conversation'], selected: 0 },
      })
    },
  )

  test('whose top has scrolled away is told by what the client draws around it', () => {
    const clipped = PERMISSION.split('\n').slice(4).join('\n')
    expect(readScreen(`${clipped}\n`)).toMatchObject({
      kind: 'waiting',
      dialog: { kind: 'permission', title: 'Do you want to proceed?' },
    })
  })

  test('that lacks its lower half is unknown', () => {
    const cut = PERMISSION.split('\n').slice(0, 6).join('\n')
    expect(readScreen(`${LOGO}\n❯ Go\n\n${cut}\n`).kind).toBe('unknown')
  })

  test('is told by its hint alone when it is taller than the pane', () => {
    const question =
      '     What few would take\n  3. Third\n     Rare\n\nEnter to select · ↑/↓ to navigate · Esc to cancel\n'
    expect(readScreen(question)).toMatchObject({ kind: 'waiting', dialog: { kind: 'question', options: [] } })
    const clipped =
      '  in Bypass mode.\n\n  ❯ No, exit\n    Yes, I accept\n ↑ 9 more lines\n  Enter to confirm · Esc to cancel\n'
    expect(readScreen(clipped)).toMatchObject({
      kind: 'waiting',
      dialog: { options: ['No, exit', 'Yes, I accept'] },
    })
    expect(readScreen(clipped.replace(' ↑ 9 more lines\n', '')).kind).toBe('unknown')
  })

  test('with a rule inside is read from its top', () => {
    const question = `❯ Go\n${RULE}\n ☐ Tool\n\nWhich tool?\n\n❯ 1. Saw\n  2. Type something.\n${RULE}\n  3. Chat about this\n\nEnter to select · Esc to cancel\n`
    expect(readScreen(question).dialog).toEqual({
      kind: 'question',
      title: 'Which tool?',
      options: ['Saw', 'Type something.', 'Chat about this'],
      selected: 0,
    })
    const plan = `${RULE}\n Ready to code?\n\n 1. Write\n 2. Test\n\n${RULE}\n Claude has written up a plan and is ready to execute. Would you like to\n proceed?\n\n ❯ 1. Yes\n   2. No\n\n ctrl+g to edit in Vim · ~/plan.md\n`
    expect(readScreen(plan).dialog).toEqual({
      kind: 'plan',
      title: 'Ready to code?',
      options: ['Yes', 'No'],
      selected: 0,
    })
  })

  test('is not called by a name that the agent wrote into its plan, its command or its question', () => {
    const plan = `\n Accessing workspace: /srv\n\n${RULE}\n Claude has written up a plan and is ready to execute. Would you like to proceed?\n\n ❯ 1. Yes, and use auto mode\n   2. Yes, manually approve edits\n\n ↑ 99 more lines\n ctrl+g to edit in Vim · ~/plan.md\n`
    const command = PERMISSION.split('\n').slice(4).join('\n')
    const question = `${RULE}\n ☐ 1\n\nAccessing workspace:\n\n❯ 1. Yes, I trust this folder\n  2. No\n\nEnter to select · ↑/↓ to navigate · Esc to cancel\n`
    const kinds = [plan, ` Accessing workspace: /srv\n${command}\n`, `❯ Go\n${question}`].map(
      (text) => readScreen(text).dialog?.kind,
    )
    expect(kinds).toEqual(['plan', 'permission', 'question'])
  })

  test('needs more than a list under a rule', () => {
    expect(readScreen(`${LOGO}\n${RULE}\n❯ Do you want to go on?\n  ❯ 1. Yes\n    2. No\n`).kind).toBe(
      'unknown',
    )
    expect(readScreen(`${LOGO}\n${RULE}\n Groceries\n\n ❯ 1. Tea\n   2. Milk\n`).kind).toBe('unknown')
    expect(readScreen(`${LOGO}\n${RULE}\n Exit plan mode?\n\n  ❯ 1. Yes\n    2. No\n`).kind).toBe('waiting')
  })

  test('about a usage limit is a limit', () => {
    const text = `❯ Go\n${RULE}\n  What do you want to do?\n\n  ❯ 1. Stop and wait for limit to reset\n    2. Upgrade\n\n  Enter to confirm · Esc to cancel\n`
    expect(readScreen(text)).toMatchObject({ kind: 'limited', dialog: { kind: 'limit' } })
  })
})
