/** Own agents whose process dies at each of their commits: the run ends as if nothing had happened. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Recorded } from '../../src/domain/event.ts'
import type { Fate } from '../../src/testing/failing-store.ts'
import { isTerminal } from '../../src/domain/event.ts'
import { StepInterrupted, defineAgent, type AgentContext } from '../../src/index.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { stop, text } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ENGINES, rig, type Rig, type RigOptions } from './rig.ts'

/** What really happened, however often the process died. */
type Ledger = Map<string, number>
const count = (ledger: Ledger, what: string) => void ledger.set(what, (ledger.get(what) ?? 0) + 1)

/** An agent with everything in it. What it learns is said at its end. */
async function work(ctx: AgentContext, ledger: Ledger): Promise<string> {
  const id = ctx.uuid()
  const look = await ctx.step('look', { repeatable: true, input: ctx.input.text }, () => {
    count(ledger, 'look')
    return { found: ctx.input.text.length }
  })
  const paid = await ctx
    .step('pay', { input: look }, () => {
      count(ledger, 'pay')
      return 'paid'
    })
    .catch((error: unknown) => (error instanceof StepInterrupted ? 'unknown' : Promise.reject(error as Error)))
  const pages = await Promise.all(
    [1, 2, 3].map((page) =>
      ctx.step(`page:${page}`, { repeatable: true }, async () => {
        count(ledger, `page:${page}`)
        return page * 10
      }),
    ),
  )
  await ctx.emit('all pages read')
  const [sent, kept] = await Promise.all([
    ctx.approve('may send', { name: 'send', arguments: { pages }, reason: 'Shall I?' }),
    ctx.approve('may keep', { name: 'keep' }),
  ])
  const draft = await ctx.step('draft', { repeatable: true }, async ({ emit }) => {
    await emit('a draft ')
    // Long enough for a commit of its own: a process may die here, too.
    await settle(4)
    await emit('of it')
    return 'draft'
  })
  const thought = (await ctx.generate('think', { prompt: draft })).text
  const acted = (await ctx.tool('act', 'act', { thought })).output
  const later = ctx.uuid()
  return JSON.stringify({ found: look.found, paid, pages, ids: id !== later, sent: sent.action, kept: kept.action, draft, thought, acted: acted.split(' ')[0] })
}

/** The model, the tool and the policy of the agent. */
function world(ledger: Ledger): Pick<RigOptions, 'script' | 'tools' | 'policy'> {
  const run = () => {
    count(ledger, 'act')
    return 'done'
  }
  return {
    script: () => [...text('a ').slice(0, 1), settle(4), ...text('thought'), stop()],
    tools: [scriptedTool('act', { run })],
    policy: { mode: 'custom', rules: { act: 'approve' }, default: 'ask' },
  }
}

/** Answers the run's questions as a person would: one by one, again if it is unknown whether it was heard. */
async function answer(r: Rig): Promise<void> {
  const { toolCallIds } = await r.until('ApprovalRequested')
  const state = await r.store.state(r.id)
  const runId = state?.run?.id
  if (runId === undefined) return
  const [first = '', second = ''] = toolCallIds
  await r.execute({ type: 'DecideCalls', runId, decisions: [{ toolCallId: second, action: 'custom_result', content: 'no need' }] })
  await r.execute({ type: 'DecideCalls', runId, decisions: [{ toolCallId: first, action: 'accept' }] })
}

interface Cut {
  readonly at: number
  readonly fate: Extract<Fate, 'cut-before' | 'cut-after'>
}
const NONE: Cut = { at: 0, fate: 'cut-before' }
const fateOf =
  (cut: Cut): NonNullable<RigOptions['fateOf']> =>
  (commit) =>
    commit === cut.at ? cut.fate : 'pass'

/** Runs the agent through lives that end with `cuts`, then to its end. */
async function runThrough(engine: RigOptions['engine'], cuts: readonly Cut[], ledger: Ledger) {
  const agent = defineAgent({ name: 'own', run: (ctx) => work(ctx, ledger) })
  const [first = NONE, ...later] = cuts
  // The first two commits are the client's: the session and its message.
  const fate = fateOf(first.at === 0 ? NONE : { ...first, at: first.at + 2 })
  let r = await rig({ ...world(ledger), own: [agent], fateOf: fate, ...(engine === undefined ? {} : { engine }) }, { agent: 'own' })
  await r.send('go')
  const { run } = r
  let deaths = 0
  const live = (life: Rig) => {
    // A dead process answers nobody; one that ended needs no answer.
    answer(life).catch(() => undefined)
    return Promise.race([life.ended(run).then(() => 'ended' as const), life.store.cut.then(() => 'dead' as const)])
  }
  for (const cut of [...later, NONE]) {
    if ((await live(r)) === 'ended') break
    deaths++
    r = await r.restart({ fateOf: fateOf(cut) })
  }
  expect(await live(r)).toBe('ended')
  return { last: r, deaths, log: (await r.beneath.read(r.id, 0, 512))?.events ?? [] }
}

/** The text that a reader has at the end who drops what was superseded. */
function shownText(log: readonly Recorded[]): string {
  let shown: { readonly position: number; readonly delta: string }[] = []
  for (const { event, position } of log) {
    if (event.type === 'TextDelta') shown.push({ position, delta: event.delta })
    if (event.type === 'AttemptSuperseded') shown = shown.filter((piece) => piece.position < event.from)
  }
  return shown.map(({ delta }) => delta).join('')
}

/** What must hold of a finished log, however often its run was cut. */
function check(log: readonly Recorded[], ledger: Ledger): void {
  expect(log.map(({ position }) => position)).toEqual(log.map((_, index) => index + 1))
  const events = log.map(({ event }) => event)
  expect(events.filter(isTerminal)).toMatchObject([{ type: 'RunCompleted', stopReason: 'completed', totalTurns: 6 }])
  const messages = events.flatMap((event) => (event.type === 'MessageAdded' && event.message.role === 'assistant' ? [event.message.content] : []))
  const texts = messages.map((content) => (typeof content === 'string' ? [content] : content.flatMap((part) => (part.type === 'text' ? [part.text] : []))))
  expect(texts.flat().slice(0, 4)).toEqual(['all pages read', 'Shall I?', 'a draft of it', 'a thought'])
  expect(texts.flat()).toHaveLength(5)
  const said = JSON.parse(texts.flat()[4] ?? '') as { readonly paid: string; readonly acted: string }
  const fixed = { found: 2, pages: [10, 20, 30], ids: true, sent: 'accept', kept: 'custom_result', draft: 'draft', thought: 'a thought' }
  expect(said).toEqual({ ...fixed, paid: expect.any(String) as string, acted: expect.stringMatching(/^(done|TOOL_CALL_OUTCOME_UNKNOWN:)$/) as string })
  expect(ledger.get('act') ?? 0).toBeLessThanOrEqual(1)
  if (said.acted === 'done') expect(ledger.get('act')).toBe(1)
  expect(shownText(log)).toEqual(texts.flat().join(''))
  const results = events.flatMap((event) => (event.type === 'ToolCompleted' && event.toolName !== 'act' ? [[event.toolName, event.result]] : []))
  expect(results.toSorted(([a = ''], [b = '']) => a.localeCompare(b))).toEqual([
    ['keep', 'no need'],
    ['send', 'approved'],
  ])
  const turns = (type: string) => events.flatMap((event) => (event.type === type && 'turn' in event ? [event.turn] : []))
  expect([turns('TurnStarted'), turns('TurnCompleted')]).toEqual([
    [1, 2, 3, 4, 5, 6],
    [1, 2, 3, 4, 5, 6],
  ])
  const done = events.flatMap((event) => (event.type === 'StepCompleted' ? [event.key] : []))
  expect(done.toSorted()).toEqual([...new Set(done)].toSorted())
  // What may not be repeated ran once, or it was said that nobody knows.
  expect(ledger.get('pay') ?? 0).toBeLessThanOrEqual(1)
  const interrupted = events.filter((event) => event.type === 'StepFailed')
  expect(interrupted).toMatchObject(said.paid === 'paid' ? [] : [{ key: 'pay', code: 'step_interrupted' }])
  if (said.paid === 'paid') expect(ledger.get('pay')).toBe(1)
}

const whole: Ledger = new Map()
const { last, log } = await runThrough('memory', [], whole)
check(log, whole)
const commits = last.store.commits - 2
const points = Array.from({ length: commits }, (_, index) => [
  { at: index + 1, fate: 'cut-before' } as const,
  { at: index + 1, fate: 'cut-after' } as const,
]).flat()

test('the agent has enough commits to be cut at; undisturbed, each step runs once', () => {
  expect(commits).toBeGreaterThan(15)
  expect([...whole.values()]).toEqual([1, 1, 1, 1, 1, 1])
})

describe.each(ENGINES)('a process over %s', (engine) => {
  test.each(points)('that dies at commit $at of an own agent, $fate, leaves a run that the next one ends', async (cut) => {
    const ledger: Ledger = new Map()
    const run = await runThrough(engine, [cut], ledger)
    expect(run.deaths).toBe(1)
    check(run.log, ledger)
  })
})

/** Polls in which a run must have been found and ended. */
const POLLS_MAX = 30

describe('a log', () => {
  const failures = points.map(({ at, fate }) => ({ at, fate: fate === 'cut-before' ? 'fail-before' : 'fail-after' }) as const)
  test.each(failures)('that fails at commit $at of an own agent, $fate, and then works again, ends no run', async ({ at, fate }) => {
    const ledger: Ledger = new Map()
    const agent = defineAgent({ name: 'own', run: (ctx) => work(ctx, ledger) })
    const r = await rig({ ...world(ledger), own: [agent], fateOf: (commit) => (commit === at + 2 ? fate : 'pass') }, { agent: 'own' })
    await r.send('go')
    for (let polls = 0; polls < POLLS_MAX && (await r.store.state(r.id))?.run !== undefined; polls++) {
      await settle()
      // A person whose answer was not heard gives it again.
      if ((await r.events('ApprovalRequested')).length > 0) await answer(r).catch(() => undefined)
      r.clock.advance(1000)
    }
    expect(r.store.commits).toBeGreaterThanOrEqual(at + 2)
    expect(r.supervisor.active).toBe(0)
    check(await r.log(), ledger)
  })
})

test('a run of an own agent survives any three deaths', async () => {
  const anyCut = fc.record({ at: fc.integer({ min: 1, max: commits }), fate: fc.constantFrom('cut-before', 'cut-after') } as const)
  await fc.assert(
    fc.asyncProperty(fc.array(anyCut, { minLength: 2, maxLength: 3 }), async (cuts) => {
      const ledger: Ledger = new Map()
      check((await runThrough('memory', cuts, ledger)).log, ledger)
    }),
    { numRuns: 60 },
  )
})
