import { createLineWriter } from '../../src/log/writer.ts'

// Nothing here touches process.stderr, which would make the pipe one that does not wait.
const writer = createLineWriter(2)
for (let n = 0; n < 3000; n++) writer.write(`${'x'.repeat(100)}\n`)
process.stdout.write('alive\n')
process.exit(0)
