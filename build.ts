import { readdir, rm } from 'node:fs/promises'
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
const { metafile } = await build({
  absWorkingDir: folder,
  entryPoints: { cli: 'src/cli.ts', daemon: 'src/main.ts', watchdog: 'src/supervisor/watchdog-thread.ts' },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: ['better-sqlite3'],
  plugins: [lazyHttp, oneLanguage],
  chunkNames: 'chunk-[hash]',
  banner: {
    js: "import { createRequire as __ccmCreateRequire } from 'node:module'; const require = __ccmCreateRequire(import.meta.url);",
  },
  metafile: true,
  logLevel: 'warning',
})

// Chunks of earlier builds go only now, so that `dist` is whole at any time, also with two builds at once.
for (const name of await readdir(`${folder}/dist`)) {
  if (!(`dist/${name}` in metafile.outputs))
    await rm(`${folder}/dist/${name}`, { recursive: true, force: true })
}
