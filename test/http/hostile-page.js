// What a page of another website tries; test/http/browser.test.ts serves it to a real browser.
globalThis.hostile = {
  /** How each fetch ended: `refused`, or the type of the reply and how much of it could be read. */
  async fetches({ baseUrl, token }) {
    const authorization = `Bearer ${token}`
    const json = { 'content-type': 'application/json' }
    const text = { 'content-type': 'text/plain' }
    const asks = [
      ['/health', {}],
      ['/health', { mode: 'no-cors' }],
      ['/openapi.json', {}],
      ['/api/status', { headers: { authorization } }],
      ['/api/tasks/a/approve', { method: 'POST', headers: { authorization, ...json }, body: '{}' }],
      ['/api/tasks/a/approve', { method: 'POST', mode: 'no-cors', body: '{}' }],
      ['/api/shutdown', { method: 'POST', mode: 'no-cors', headers: text, body: '{}' }],
      ['/api/projects/app', { method: 'DELETE', headers: { authorization } }],
    ]
    return Promise.all(
      asks.map(async ([path, init]) => {
        try {
          const reply = await fetch(baseUrl + path, init)
          return `${reply.type} ${(await reply.text()).length}`
        } catch {
          return 'refused'
        }
      }),
    )
  },

  /** Whether a picture, a script and a style sheet of the API loaded. */
  async elements(baseUrl) {
    const settle = (element) =>
      new Promise((resolve) => {
        element.addEventListener('load', () => resolve('loaded'))
        element.addEventListener('error', () => resolve('refused'))
        setTimeout(() => resolve('nothing'), 3000)
        document.body.append(element)
      })
    navigator.sendBeacon(`${baseUrl}/api/shutdown`, '{}')
    return Promise.all([
      settle(Object.assign(document.createElement('img'), { src: `${baseUrl}/api/status` })),
      settle(Object.assign(document.createElement('script'), { src: `${baseUrl}/openapi.json` })),
      settle(Object.assign(document.createElement('link'), { rel: 'stylesheet', href: `${baseUrl}/docs` })),
    ])
  },

  async frame(baseUrl) {
    document.body.append(Object.assign(document.createElement('iframe'), { src: `${baseUrl}/docs` }))
    await new Promise((resolve) => setTimeout(resolve, 1000))
  },

  /** A form whose text/plain body is JSON. */
  form(baseUrl) {
    const form = Object.assign(document.createElement('form'), {
      action: `${baseUrl}/api/tasks/a/cancel`,
      method: 'POST',
      enctype: 'text/plain',
    })
    form.innerHTML = '<input name=\'{"reason":"\' value=\'"}\'>'
    document.body.append(form)
    form.submit()
  },

  async streams(baseUrl) {
    const sources = [
      new EventSource(`${baseUrl}/api/events`),
      new WebSocket(`${baseUrl.replace('http', 'ws')}/api/events`),
    ]
    const outcome = (source) =>
      new Promise((resolve) => {
        source.addEventListener('open', () => resolve('open'))
        source.addEventListener('error', () => resolve('refused'))
      })
    return Promise.all(sources.map(outcome))
  },
}
