/**
 * A disk that is full, over and over, under a server that works: commands are refused by a code, nothing is half-written, and as soon as there is room the
 * server goes on by itself, its runs too.
 */
import { ask } from '../../test/support/http.ts'
import { openStream, type TestStream } from '../../test/support/stream.ts'
import { json, newSession, say } from '../../bench/support/http.ts'
import { startChild, startedChild, wrongInRefusal, type Child, type ChildOptions } from '../faults/child.ts'
import { startDripModel } from '../faults/drip.ts'
import { eventually, elapsed, within } from '../support/wait.ts'
import { said, Undo } from '../support/undo.ts'
import { nameOf, wrongInLog, type Shown } from '../faults/log-check.ts'
import { logOf, runsEnded } from '../faults/wire.ts'
import type { SmallDisk } from './small-disk.ts'

/** How long the disk stays full, in ms: longer than the poll that takes up what was left. */
const FULL_MS = 2500
/** How soon after there is room again everything must work, in ms. */
const WELL_MS = 10_000
const RUN_MS = 60_000
/** Words of the runs that are under way meanwhile, and their pace. */
const LONG_RUN = 'drip 150 20'

interface Scene {
  readonly disk: SmallDisk
  readonly child: Child
  /** Sessions whose creation was acknowledged. */
  readonly acknowledged: Set<string>
  readonly lost: string[]
  refused: number
}

/** What was seen. */
export interface FullResult {
  readonly lost: readonly string[]
  readonly acknowledged: number
  readonly refused: number
}

/** Fills `disk` `times` times. */
export async function fillDisk(disk: SmallDisk, times: number): Promise<FullResult> {
  const undo = new Undo()
  const lost: string[] = []
  try {
    const model = await startDripModel()
    undo.add(() => model.close())
    const options: ChildOptions = { data: disk.folder, env: disk.env, config: model.config }
    const child = await startedChild(options)
    undo.add(() => child.kill('SIGKILL'))
    const scene: Scene = { disk, child, acknowledged: new Set(), lost, refused: 0 }
    for (let time = 0; time < times; time++) await once(scene, `${disk.how}, time ${time + 1}`)
    await restarts(scene, options, undo)
    return { lost, acknowledged: scene.acknowledged.size, refused: scene.refused }
  } finally {
    disk.free()
    await undo.run()
  }
}

async function once(scene: Scene, label: string): Promise<void> {
  const { disk, child, lost } = scene
  const { url } = child
  const runs = await Promise.all([1, 2, 3].map(async () => ({ id: await create(scene) })))
  const readers = await Promise.all(runs.map(({ id }) => openStream(url, `/v1/sessions/${id}/events?after=0&events=all`)))
  for (const { id } of runs) await say(url, id, LONG_RUN)
  await elapsed(600)
  disk.fill()
  try {
    const until = Date.now() + FULL_MS
    while (Date.now() < until) {
      const [id] = [...scene.acknowledged]
      await command(scene, label, 'POST', '/v1/sessions', { title: label })
      await command(scene, label, 'PATCH', `/v1/sessions/${id}`, { title: `${label} ${Date.now()}` })
      // Reading goes on.
      if ((await ask(url, 'GET', `/v1/sessions/${id}`)).status !== 200) lost.push(`${label}: a session cannot be read`)
      await elapsed(50)
    }
    if (!child.alive) throw new Error(`${label}: the server ended: ${child.said}`)
  } finally {
    disk.free()
  }
  await eventually(WELL_MS, `${label}: a command that works again`, async () =>
    (await ask(url, 'POST', '/v1/sessions', { title: 'well' })).status === 201 ? true : undefined,
  )
  for (const [index, { id }] of runs.entries()) {
    await runsEnded(url, id, 1, RUN_MS)
    const log = await logOf(url, id)
    lost.push(...wrongInLog(log).map((what) => `${label}, session ${id}: ${what}`))
    if (nameOf(log.at(-1) as Shown) !== 'RunCompleted') lost.push(`${label}: a run ended as ${JSON.stringify(log.at(-1))}`)
    lost.push(...(await readerSaw(readers[index] as TestStream, log)).map((what) => `${label}, a reader of ${id}: ${what}`))
  }
  for (const reader of readers) reader.close()
}

async function create(scene: Scene): Promise<string> {
  const id = await newSession(scene.child.url)
  scene.acknowledged.add(id)
  return id
}

async function command(scene: Scene, label: string, method: string, path: string, body: object): Promise<void> {
  const answer = await ask(scene.child.url, method, path, body)
  if (answer.status === 201) scene.acknowledged.add(answer.json.id as string)
  if (answer.status < 300) return
  scene.refused++
  const { code } = (answer.json ?? {}) as { code?: string }
  if (answer.status !== 503 || code !== 'store_unknown') scene.lost.push(`${label}: ${method} ${path} answered ${answer.status} ${code}`)
}

async function readerSaw(reader: TestStream, log: readonly Shown[]): Promise<readonly string[]> {
  await within(
    WELL_MS,
    'the end of what a reader sees',
    reader.until(({ data }) => data?.id === log.length),
  )
  const seen = reader.frames.map(({ data }) => JSON.stringify(data))
  const wrong = log.findIndex((event, index) => JSON.stringify(event) !== seen[index])
  return wrong === -1 && seen.length === log.length ? [] : [`position ${wrong + 1} was not shown as it is in the log`]
}

/** Killed while the disk is full, started on a full one, started when there is room. */
async function restarts({ disk, child, acknowledged, lost }: Scene, options: ChildOptions, undo: Undo): Promise<void> {
  const label = disk.how
  const id = [...acknowledged][0] as string
  await say(child.url, id, LONG_RUN).catch(() => undefined)
  await elapsed(300)
  disk.fill()
  await child.kill('SIGKILL')
  const start = await startChild(options)
  if (start.kind === 'refused') {
    const wrong = wrongInRefusal(start)
    if (wrong !== undefined) lost.push(`${label}, a start on a full disk: ${wrong}`)
  } else await start.child.kill('SIGKILL')
  disk.free()
  const next = await startedChild(options)
  undo.add(() => next.kill('SIGKILL'))
  const { sessions } = await json<{ sessions: { id: string }[] }>(`${next.url}/v1/sessions?limit=1000`)
  const there = new Set(sessions.map((session) => session.id))
  for (const one of acknowledged) if (!there.has(one)) lost.push(`${label}: the acknowledged session ${one} is gone`)
  const log = await logOf(next.url, id).catch((error: unknown) => void lost.push(`${label}: ${said(error)}`))
  if (log !== undefined && log.some(({ id: position }, index) => position !== index + 1)) lost.push(`${label}: the log has a hole after the restart`)
  await next.kill('SIGTERM')
}

/** A server whose files may not grow: every write beyond fails for good. It ends with a clear line, and nothing that it acknowledged is gone. */
export async function limitFiles(data: string): Promise<FullResult> {
  const undo = new Undo()
  const lost: string[] = []
  try {
    const child = await startedChild({ data, fileBlocksMax: 2048 })
    undo.add(() => child.kill('SIGKILL'))
    const acknowledged: string[] = []
    let refused = 0
    for (let tries = 0; child.alive && tries < 500; tries++) {
      const answer = await ask(child.url, 'POST', '/v1/sessions', { title: 'x'.repeat(900) }).catch(() => undefined)
      if (answer?.status === 201) acknowledged.push(answer.json.id as string)
      else refused++
      if (answer !== undefined && answer.status > 299 && !String(answer.json?.code).startsWith('store_') && answer.json?.code !== 'shutting_down') {
        lost.push(`files that may not grow: a command answered ${answer.status} ${answer.text.slice(0, 200)}`)
      }
    }
    const end = await within(WELL_MS, 'the end of a server whose files may not grow', child.ended)
    if (end.code !== 1 || !/^convoke: [^\n]+; the server stops \[store_failed\]$/m.test(child.said)) {
      lost.push(`files that may not grow: the server ended with ${JSON.stringify(end)} and said ${JSON.stringify(child.said.slice(-300))}`)
    }
    const next = await startedChild({ data })
    undo.add(() => next.kill('SIGKILL'))
    const { sessions } = await json<{ sessions: { id: string }[] }>(`${next.url}/v1/sessions?limit=1000`)
    const there = new Set(sessions.map((session) => session.id))
    for (const id of acknowledged) if (!there.has(id)) lost.push(`files that may not grow: the acknowledged session ${id} is gone`)
    return { lost, acknowledged: acknowledged.length, refused }
  } finally {
    await undo.run()
  }
}
