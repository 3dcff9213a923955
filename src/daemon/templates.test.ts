import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { PlacedTemplate } from '../core/task/template.ts'
import { tellMissingTemplates } from './templates.ts'

test('the log names each template that a rule for requests from outside uses and that is nowhere, once', async () => {
  const logged: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void logged.push(JSON.parse(line).msg) })
  const rule = { events: [], labels: [], repository: 'a/b', project: 'app' }
  const config = {
    github: {
      rules: [{ template: 'fxi' }, { template: 'fxi' }, { template: 'fix' }, {}].map((own) => ({
        ...rule,
        ...own,
      })),
    },
    alertmanager: { rules: [] },
    telegram: { template: 'chat' },
  } as unknown as Parameters<typeof tellMissingTemplates>[0]
  await tellMissingTemplates(config, { list: async () => [{ name: 'fix' } as PlacedTemplate] }, logger)
  expect(logged).toEqual([
    '[github] names the template fxi, which does not exist.',
    '[telegram] names the template chat, which does not exist.',
  ])
})
