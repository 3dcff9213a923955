import { CcmError } from '../../src/core/errors.ts'
import type { AppDeps, ScheduleView, TaskView } from '../../src/http/deps.ts'

/** The schedules of a fake daemon: none at first; the next time is always the same, and `bad` cannot be read. */
export function createFakeSchedules(
  view: (id: string) => TaskView,
  note: (...call: unknown[]) => void = () => {},
): AppDeps['schedules'] {
  const schedules: ScheduleView[] = []
  const viewOf = (name: string) => schedules.find(({ schedule }) => schedule.name === name)
  return {
    list: async () => schedules,
    async add({ dir, project, name, ...request }) {
      note('addSchedule', { dir, project, name, ...request })
      if (request.cron === 'bad') throw new CcmError('BAD_INPUT', '"bad" is not five fields.')
      const id = schedules.length + 1
      const added = {
        schedule: {
          ...request,
          id,
          name: name ?? `app-${id}`,
          project: project ?? 'app',
          paused: false,
          createdAt: 0,
          settledUntil: 0,
        },
        next: [Date.UTC(2026, 10, 23, 6)],
        runs: [{ dueAt: 0, outcome: 'skipped' as const, taskId: null, reason: 'It was not over.' }],
      }
      schedules.push(added)
      return added
    },
    async setPaused({ name }, paused) {
      note('setPaused', name, paused)
      const found = viewOf(name)
      if (found) Object.assign(found.schedule, { paused })
    },
    async remove({ name }) {
      note('removeSchedule', name)
      schedules.splice(
        schedules.findIndex(({ schedule }) => schedule.name === name),
        1,
      )
    },
    async run({ name }) {
      note('runSchedule', name)
      return view('t9')
    },
  }
}
