/** Prints the OpenAPI document of `/v1`. Nothing is started: the document comes from the routes alone. */
import type { V1Context } from '../src/dialect/v1/context.ts'
import { v1Routes } from '../src/dialect/v1/routes.ts'
import { VERSION } from '../src/version.ts'

const routes = v1Routes({ version: VERSION } as V1Context)
const openapi = routes.find((route) => route.id === 'openapi')
const answer = await openapi?.handle(undefined as never)
if (answer === undefined || answer === 'streaming') throw new Error('there is no document')
process.stdout.write(`${JSON.stringify(answer.json, undefined, 2)}\n`)
