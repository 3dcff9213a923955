import { writeFileSync } from 'node:fs'
import { OPENAPI_FILE, openApiText } from './openapi-text.ts'

writeFileSync(OPENAPI_FILE, await openApiText())
