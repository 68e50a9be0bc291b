/** The floor of a request: Hono on Node's server with two routes that do nothing. */
import { serve } from '@hono/node-server'
import { Hono } from 'hono'

const answer = JSON.parse(process.argv[2] ?? '{}') as object
const app = new Hono()
app.get('/session', (c) => c.json(answer))
app.post('/session', async (c) => c.json({ ...answer, ...(await c.req.json<object>()) }, 201))
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => console.log(`http://127.0.0.1:${port}`))
process.on('SIGTERM', () => process.exit(0))
