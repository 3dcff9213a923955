import { type Notifier, noticeText, noticeTitle } from '../core/incident/incident.ts'
import { postJson } from './post.ts'

/** Posts each message as JSON: `{id, phase, kind, title, text, task_id, opened_at, closed_at}`, times in ISO 8601. */
export function createWebhookNotifier(url: string): Notifier {
  return {
    name: 'webhook',
    send(notice, signal) {
      const { incident, phase } = notice
      const body = {
        id: incident.id,
        phase,
        kind: incident.kind,
        title: noticeTitle(notice),
        text: noticeText(notice),
        task_id: incident.taskId,
        opened_at: new Date(incident.openedAt).toISOString(),
        closed_at: incident.closedAt === null ? null : new Date(incident.closedAt).toISOString(),
      }
      // The same at every try: a receiver can tell a repetition.
      return postJson(url, body, { headers: { 'idempotency-key': `ccm-${incident.id}-${phase}` }, signal })
    },
  }
}
