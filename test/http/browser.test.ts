import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type BrowserContext, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { TOKEN } from './fake-daemon.ts'
import { serveFakeDaemon } from './served.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const CHROMIUM = '/usr/bin/chromium'
const missing = existsSync(CHROMIUM) ? '' : ` [skipped: there is no ${CHROMIUM}; apt install chromium]`

const HOSTILE = readFileSync(join(import.meta.dirname, 'hostile-page.js'), 'utf8')

/** Lets the page try something of hostile-page.js. */
function hostile(page: Page, what: string, given: unknown): Promise<unknown> {
  type World = { hostile: Record<string, (given: unknown) => unknown> }
  return page.evaluate(({ what, given }) => (globalThis as unknown as World).hostile[what]?.(given), {
    what,
    given,
  })
}

/** Another website on this machine. */
async function serveEvil(): Promise<number> {
  const html = `<!doctype html><title>evil</title><body><script>${HOSTILE}</script>`
  const server = createServer((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end(html),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

describe.skipIf(missing !== '')(`a page of another website in a real browser${missing}`, () => {
  let browser: BrowserContext
  let folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ccm-browser-'))
    browser = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath: CHROMIUM,
      headless: true,
      // A minimal environment: nothing of this machine's is needed.
      env: { PATH: process.env['PATH'] ?? '', HOME: folder },
      args: [
        '--no-sandbox',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-dev-shm-usage',
        '--no-first-run',
        // A name that was made to point here, as DNS rebinding does.
        '--host-resolver-rules=MAP rebound.example 127.0.0.1,EXCLUDE 127.0.0.1',
      ],
    })
  })
  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  const visit = async (url: string): Promise<Page> => {
    const page = await browser.newPage()
    onTestFinished(() => page.close())
    await page.goto(url)
    return page
  }
  const start = async () => {
    const served = await serveFakeDaemon()
    served.addTask('a')
    const page = await visit(`http://localhost:${await serveEvil()}/`)
    return { ...served, page }
  }

  test('fetch reads nothing and changes nothing, even with a credential it stole', async () => {
    const { page, baseUrl, calls } = await start()
    const tried = (await hostile(page, 'fetches', { baseUrl, token: TOKEN })) as string[]
    expect(tried).toHaveLength(8)
    for (const outcome of tried) expect(['refused', 'opaque 0']).toContain(outcome)
    expect(calls).toEqual([])
  })

  test('a form, a beacon, a picture, a script and a frame change nothing and show nothing', async () => {
    const { page, baseUrl, calls } = await start()
    const seen = await hostile(page, 'elements', baseUrl)
    expect(seen).not.toContain('loaded')
    await hostile(page, 'frame', baseUrl)
    const framed = page.frames().map((frame) => frame.url())
    expect([framed.length, framed.filter((url) => url.startsWith(baseUrl))]).toEqual([2, []])
    await hostile(page, 'form', baseUrl)
    await page.waitForURL(`${baseUrl}/**`)
    expect(await page.textContent('body')).toContain('"status":403')
    expect(calls).toEqual([])
  })

  test('an EventSource and a WebSocket are refused', async () => {
    const { page, baseUrl, listeners } = await start()
    const outcomes = await hostile(page, 'streams', baseUrl)
    expect(outcomes).toEqual(['refused', 'refused'])
    expect(listeners.size).toBe(0)
  })

  test('a name that was made to point here gets nothing', async () => {
    const served = await serveFakeDaemon()
    served.addTask('a')
    const page = await visit(`http://rebound.example:${served.port}/docs`)
    expect(await page.textContent('body')).toContain('"status":403')
    const tried = await page.evaluate(async (token) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const replies = [
        await fetch('/health').catch(() => null),
        await fetch('/api/status', { headers }).catch(() => null),
        await fetch('/api/tasks/a/approve', { method: 'POST', headers, body: '{}' }).catch(() => null),
      ]
      return replies.map((reply) => reply?.status ?? 0)
    }, TOKEN)
    expect(tried.filter((status) => status !== 403 && status !== 0)).toEqual([])
    expect(served.calls).toEqual([])
  })

  test('the documentation is shown as it should be, without a script, and asks for nothing', async () => {
    const served = await serveFakeDaemon()
    const asked: string[] = []
    const faults: string[] = []
    const page = await browser.newPage()
    onTestFinished(() => page.close())
    page.on('request', (request) => asked.push(request.url()))
    page.on('console', (message) => faults.push(message.text()))
    page.on('pageerror', (error) => faults.push(error.message))
    await page.goto(`${served.baseUrl}/docs`)
    expect(await page.evaluate('getComputedStyle(document.body).maxWidth')).not.toBe('none')
    await page.click('summary >> nth=0')
    expect(await page.isVisible('details[open] pre')).toBe(true)
    expect(asked.filter((url) => !url.endsWith('/docs') && !url.endsWith('/favicon.ico'))).toEqual([])
    expect(faults.filter((text) => !text.includes('favicon'))).toEqual([])
  })

  test('what an agent printed is text in a browser, wherever it is opened', async () => {
    const prompt = '<script>window.ran = true</script><img src=x onerror="window.ran = true">'
    const served = await serveFakeDaemon()
    served.addTask('a', { prompt })
    const page = await browser.newPage()
    onTestFinished(() => page.close())
    await page.setExtraHTTPHeaders({ authorization: `Bearer ${TOKEN}` })
    for (const path of [
      '/api/tasks/a',
      '/api/tasks',
      '/api/tasks/%3Cscript%3Ewindow.ran=true%3C%2Fscript%3E',
    ]) {
      await page.goto(served.baseUrl + path)
      expect(await page.evaluate(() => (globalThis as { ran?: boolean }).ran)).toBeUndefined()
    }
    expect(await page.content()).not.toContain('<script>window')
  })
})
