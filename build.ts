import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { build, type Plugin } from 'esbuild'

/**
 * An `import` of node:http makes Node read every export of it, and two of them are getters that load the whole of
 * its fetch: 30 ms and some megabytes that the daemon never uses. Taken as an object, nothing is read.
 */
const lazyHttp: Plugin = {
  name: 'lazy-http',
  setup(build) {
    build.onResolve({ filter: /^(?:node:)?https?$/ }, ({ path }) => ({ path, namespace: 'lazy-http' }))
    build.onLoad({ filter: /.*/, namespace: 'lazy-http' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
      loader: 'js',
    }))
  },
}

/**
 * The server of our API looks whether a request came by HTTP/2, which we never serve: loading Node's for that one
 * look costs up to 20 ms and two megabytes.
 */
const noHttp2: Plugin = {
  name: 'no-http2',
  setup(build) {
    build.onResolve({ filter: /^node:http2$/ }, ({ path }) => ({ path, namespace: 'no-http2' }))
    build.onLoad({ filter: /.*/, namespace: 'no-http2' }, () => ({
      contents: 'export class Http2ServerRequest {}\nexport const constants = { NGHTTP2_NO_ERROR: 0 }',
      loader: 'js',
    }))
  },
}

/** zod brings its messages in fifty languages, 500 KB of a program that starts for every command. Ours are in English. */
const oneLanguage: Plugin = {
  name: 'one-language',
  setup(build) {
    build.onResolve({ filter: /\/locales\/index\.js$/ }, () => ({ path: 'none', namespace: 'one-language' }))
    build.onLoad({ filter: /.*/, namespace: 'one-language' }, () => ({ contents: 'export {}', loader: 'js' }))
  },
}

// Two entries that share chunks: neither loads the other's code. Packages with native parts stay outside.
// Bundled CommonJS packages ask for `require`, which an ES module has not; the odd name cannot clash.
const folder = import.meta.dirname
const { metafile, outputFiles } = await build({
  absWorkingDir: folder,
  entryPoints: {
    cli: 'src/cli.ts',
    daemon: 'src/main.ts',
    watchdog: 'src/supervisor/loops/watchdog-thread.ts',
  },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: ['better-sqlite3'],
  plugins: [lazyHttp, noHttp2, oneLanguage],
  chunkNames: 'chunk-[hash]',
  banner: {
    js: "import { createRequire as __ccmCreateRequire } from 'node:module'; const require = __ccmCreateRequire(import.meta.url);",
  },
  metafile: true,
  write: false,
  logLevel: 'warning',
})

// One character beyond Latin-1 makes V8 keep the whole file at two bytes a character: 1.2 MB of an idle daemon. esbuild
// escapes those of strings; what is left stands in regular expressions and comments, where an escape means the same.
await mkdir(`${folder}/dist`, { recursive: true })
for (const { path, text } of outputFiles) {
  await writeFile(
    path,
    text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
}

// Chunks of earlier builds go only now, so that `dist` is whole at any time, also with two builds at once.
for (const name of await readdir(`${folder}/dist`)) {
  if (!(`dist/${name}` in metafile.outputs))
    await rm(`${folder}/dist/${name}`, { recursive: true, force: true })
}
