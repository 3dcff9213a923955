import { clip } from '../core/clip.ts'
import { type Notifier, noticeText, noticeTitle } from '../core/incident/incident.ts'
import { postJson } from './post.ts'

/** Publishes to an ntfy topic; `topicUrl` is `https://ntfy.sh/TOPIC` say. As JSON: a header holds no Unicode. */
export function createNtfyNotifier(topicUrl: string, token: string | null): Notifier {
  const url = new URL(topicUrl)
  const path = url.pathname.replace(/\/+$/, '')
  const topic = decodeURIComponent(path.slice(path.lastIndexOf('/') + 1))
  const server = new URL(`${path.slice(0, path.lastIndexOf('/'))}/`, url).href
  return {
    name: 'ntfy',
    send(notice, signal) {
      const opened = notice.phase === 'opened'
      const body = {
        topic,
        title: noticeTitle(notice),
        message: clip(noticeText(notice), 1000),
        priority: opened ? 4 : 3,
        tags: [opened ? 'warning' : 'white_check_mark'],
      }
      return postJson(server, body, {
        headers: token === null ? {} : { authorization: `Bearer ${token}` },
        signal,
      })
    },
  }
}
