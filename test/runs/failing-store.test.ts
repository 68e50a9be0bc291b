import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { settle } from '../../src/testing/run-kit.ts'
import { stop, text } from '../../src/testing/scripted-model.ts'
import { ENGINES, rig, type Rig, type RigOptions } from './rig.ts'
import { answer, checkPromises, newWorld, scenario } from './scenario.ts'

type Failure = 'fail-before' | 'fail-after'
/** Polls in which a run must have been found and ended. */
const POLLS_MAX = 30

/** Lets time pass, and answers what is asked, until the session has no run. */
async function liveOn(r: Rig): Promise<void> {
  for (let polls = 0; polls < POLLS_MAX; polls++) {
    await settle()
    if ((await r.store.state(r.id))?.run === undefined) return
    // A person whose answer was not heard gives it again.
    if ((await r.events('ApprovalRequested')).length > 0) await answer(r).catch(() => undefined)
    r.clock.advance(1000)
  }
  throw new Error(`the run did not end in ${POLLS_MAX} polls`)
}

/** What was shown is in the log, in its place, once and in order (P2, P3). */
async function checkPublished(r: Rig): Promise<void> {
  const log = await r.log()
  for (const shown of r.published) expect(log[shown.position - 1]).toEqual(shown)
  const positions = r.published.map(({ position }) => position)
  expect(positions).toEqual([...new Set(positions)].toSorted((a, b) => a - b))
}

async function runWith(fateOf: NonNullable<RigOptions['fateOf']>, engine: RigOptions['engine'] = 'memory') {
  const world = newWorld()
  const r = await rig({ ...scenario(world), engine, fateOf })
  await r.send('go')
  await liveOn(r)
  await checkPublished(r)
  checkPromises(await r.log(), world)
  return r
}

/** The first two commits are the client's: the session and the message. */
const COMMITS = (await runWith(() => 'pass')).store.commits
const points = Array.from({ length: COMMITS - 2 }, (_, index) => [
  { at: index + 3, failure: 'fail-before' } as const,
  { at: index + 3, failure: 'fail-after' } as const,
]).flat()

describe.each(ENGINES)('over %s', (engine) => {
  test.each(points)('a log that fails at commit $at, $failure, ends no run: it goes on, and shows nothing that is not written', async ({ at, failure }) => {
    const r = await runWith((commit) => (commit === at ? failure : 'pass'), engine)
    expect(r.store.commits).toBeGreaterThanOrEqual(at)
    expect(r.supervisor.active).toBe(0)
  })
})

test('a log that fails now and then ends no run', async () => {
  const anyFailures = fc.uniqueArray(fc.integer({ min: 3, max: COMMITS * 2 }), { maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(anyFailures, fc.constantFrom<Failure>('fail-before', 'fail-after'), async (failing, failure) => {
      await runWith((commit) => (failing.includes(commit) ? failure : 'pass'))
    }),
    { numRuns: 60 },
  )
})

describe('a start that is unknown to its sender', () => {
  const script = [[...text('end'), stop()]]

  test('did happen: a poll finds the run', async () => {
    const r = await rig({ script, fateOf: (commit) => (commit === 2 ? 'fail-after' : 'pass') })
    await expect(r.send('hi')).rejects.toMatchObject({ code: 'store_unknown' })
    expect(r.published.map(({ event }) => event.type)).toEqual(['SessionCreated'])
    await liveOn(r)
    expect(await r.events('RunCompleted')).toMatchObject([{ stopReason: 'completed' }])
    await checkPublished(r)
  })

  test('did not happen: nothing was written, and the next try starts the run', async () => {
    const r = await rig({ script, fateOf: (commit) => (commit === 2 ? 'fail-before' : 'pass') })
    await expect(r.send('hi')).rejects.toMatchObject({ code: 'store_unknown' })
    expect(await r.store.head(r.id)).toBe(1)
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
  })
})

test('a driver whose write is unknown leaves its run, and says so in the server’s log', async () => {
  const r = await rig({ script: [[...text('end'), stop()]], fateOf: (commit) => (commit === 3 ? 'fail-after' : 'pass') })
  await r.send('hi')
  await settle()
  expect(r.supervisor.active).toBe(0)
  expect((await r.log()).at(-1)?.event.type).not.toMatch(/RunCompleted|RunFailed/)
  expect(r.logged.filter(({ level }) => level === 'error')).toEqual([
    { level: 'error', message: 'run interrupted by the store', fields: { run: r.run, code: 'store_unknown' } },
  ])
})

test('a forced cancel whose write failed is logged, and the run still ends as cancelled', async () => {
  let failing = false
  const r = await rig({
    script: [[...text('half'), new Promise(() => undefined)]],
    models: { deaf: true },
    fateOf: (_commit, writes) => (failing && writes[0]?.kind === 'decide' && writes[0].command.type === 'ForceCancel' ? 'fail-before' : 'pass'),
  })
  await r.send('hi')
  await r.until('TextDelta')
  failing = true
  await r.cancel()
  r.clock.advance(150)
  await settle()
  expect(r.logged.some(({ level, message }) => level === 'error' && message === 'a cancel could not be forced')).toBe(true)
  failing = false
  await liveOn(r)
  expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
})

test('a start that took effect although its commit failed is driven without waiting for two polls', async () => {
  const r = await rig({ script: [[...text('said'), stop()]], fateOf: (commit) => (commit === 2 ? 'fail-after' : 'pass') })
  await expect(r.send('go')).rejects.toMatchObject({ code: 'store_unknown' })
  await settle()
  r.clock.advance(1000)
  await settle()
  const [started] = await r.events('RunStarted')
  expect(await r.ended(started?.runId)).toMatchObject({ stopReason: 'completed' })
})
