/** Opens event streams and keeps them; tells its parent when all are there. Arguments: address, how many. */
import { Agent } from 'node:http'
import { open } from './http.ts'
import { inParallel } from './measure.ts'

const agent = new Agent({ keepAlive: false, maxSockets: Infinity })
await inParallel(Number(process.argv[3]), 50, async () => void (await open(process.argv[2] as string, 'GET', undefined, agent)).resume())
process.send?.('open')
