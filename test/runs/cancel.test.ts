import { describe, expect, test } from 'vitest'
import { isTerminal, type Recorded } from '../../src/domain/event.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { askTools, failure, stop, text, thinking, toolCall, type Line } from '../../src/testing/scripted-model.ts'
import { aborted, scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ASK_ALL, END, ENGINES, NEVER, rig, type Rig, type RigOptions } from './rig.ts'

const asks = (...calls: readonly (readonly [string, string])[]): readonly Line[] => [...calls.map(([id, name]) => toolCall(id, name)), askTools()]

/** A tool that ends when it is told to. */
const obedient = (name = 'act') =>
  scriptedTool(name, {
    parallelSafe: name === 'look',
    async run({ signal }) {
      await aborted(signal)
      return { output: 'stopped', isError: true }
    },
  })
const deafTool = (until: Promise<unknown>) => scriptedTool('act', { run: async () => (await until, 'too late') })

/** The parts of a log that a cancel must leave right: one end, a result for each call, no open turn. */
function check(log: readonly Recorded[], run: string): void {
  const events = log.flatMap(({ event }) => ('runId' in event && event.runId === run ? [event] : []))
  expect(events.filter(isTerminal)).toHaveLength(1)
  expect(events.at(-1)).toMatchObject({ type: 'RunCompleted', stopReason: 'cancelled' })
  const proposed = events.flatMap((event) => (event.type === 'ToolCallsProposed' ? event.calls.map(({ id }) => id) : []))
  const answered = events.flatMap((event) => (event.type === 'ToolCompleted' || event.type === 'ToolRejected' ? [event.toolCallId] : []))
  expect(answered.toSorted()).toEqual(proposed.toSorted())
  const turns = events.filter(({ type }) => type === 'TurnStarted').length
  expect(events.filter(({ type }) => type === 'TurnCompleted')).toHaveLength(turns)
}

interface State {
  readonly name: string
  readonly options: Omit<RigOptions, 'engine'>
  /** Resolves when the state is reached. */
  readonly reached: (r: Rig) => Promise<unknown>
  readonly reply: 'cancelled' | 'cancelling'
  readonly results: readonly string[]
}

const STATES: readonly State[] = [
  {
    name: 'calling the model',
    options: { script: [[...thinking('h'), ...text('half'), NEVER]] },
    reached: (r) => r.until('TextDelta'),
    reply: 'cancelling',
    results: [],
  },
  {
    name: 'calling a model that has not said anything',
    options: { script: [[NEVER]] },
    reached: (r) => r.until('TurnStarted'),
    reply: 'cancelling',
    results: [],
  },
  {
    name: 'backing off',
    options: { script: [[failure('model_unavailable')], END] },
    reached: (r) => r.until('RetryScheduled'),
    reply: 'cancelled',
    results: [],
  },
  {
    name: 'waiting for approval',
    options: { script: [asks(['a', 'act'], ['b', 'act']), END], tools: [obedient()], policy: ASK_ALL },
    reached: (r) => r.until('ApprovalRequested'),
    reply: 'cancelled',
    results: ['a: TOOL_CALL_CANCELLED', 'b: TOOL_CALL_CANCELLED'],
  },
  {
    name: 'running a tool, with another one to come',
    options: { script: [asks(['a', 'act'], ['b', 'act']), END], tools: [obedient()] },
    reached: (r) => r.until('ToolStarted'),
    reply: 'cancelling',
    results: ['a: stopped', 'b: TOOL_CALL_CANCELLED'],
  },
  {
    name: 'running tools side by side',
    options: { script: [asks(['a', 'look'], ['b', 'look']), END], tools: [obedient('look')] },
    reached: (r) => r.until('ToolStarted', 2),
    reply: 'cancelling',
    results: ['a: stopped', 'b: stopped'],
  },
]

describe.each(ENGINES)('a cancel over %s', (engine) => {
  test.each(STATES)('ends a run at once while $name', async ({ options, reached, reply, results }) => {
    const r = await rig({ engine, ...options })
    await r.send('hi')
    await reached(r)
    await settle()
    expect((await r.cancel()).cancel).toBe(reply)
    // The clock has not moved: nothing waited for the time in which a driver may confirm.
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    const log = await r.log()
    check(log, r.run)
    expect((await r.events('ToolCompleted')).map(({ toolCallId, result }) => `${toolCallId}: ${result}`).toSorted()).toEqual(results)
    r.clock.advance(10_000)
    await settle()
    expect(await r.log()).toEqual(log)
    expect(r.supervisor.active).toBe(0)
    expect(r.models.seen).toHaveLength(1)
  })

  test('ends a run that is queued: its driver has not begun', async () => {
    let tried = false
    const r = await rig({
      engine,
      script: [END],
      fateOf: (_commit, writes) => {
        if (tried || writes[0]?.kind !== 'record') return 'pass'
        tried = true
        return r.cancel().then(({ cancel }) => (expect(cancel).toBe('cancelled'), 'pass'))
      },
    })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled', totalTurns: 0 })
    await settle()
    expect((await r.log()).map(({ event }) => event.type)).toEqual(['SessionCreated', 'RunStarted', 'MessageAdded', 'CancelRequested', 'RunCompleted'])
    expect(r.supervisor.active).toBe(0)
  })
})

describe('what a cancel leaves', () => {
  test('the text that the model had said, as a message that was cut off; no thought and no half call', async () => {
    const r = await rig({ script: [[...thinking('h'), ...text('half'), toolCall('a', 'act'), { type: 'text_delta', delta: ' open' }, NEVER]] })
    await r.send('hi')
    await r.until('TextDelta', 2)
    await r.cancel()
    await r.ended()
    const added = (await r.events('MessageAdded')).at(-1)
    expect(added).toMatchObject({ partial: true, message: { role: 'assistant', content: [{ text: 'half' }, { text: ' open' }] } })
    expect(await r.events('ToolCallsProposed')).toEqual([])
  })

  test('nothing of a model that had said nothing', async () => {
    const r = await rig({ script: [[NEVER]] })
    await r.send('hi')
    await r.until('TurnStarted')
    await r.cancel()
    await r.ended()
    expect(await r.events('MessageAdded')).toHaveLength(1)
  })

  test('the session takes the next message, and the model sees what was cut off', async () => {
    const r = await rig({ script: (_request, call) => (call === 0 ? [...text('half'), NEVER] : END) })
    await r.send('a')
    await r.until('TextDelta')
    await r.cancel()
    await r.ended()
    await r.send('b')
    await r.ended()
    expect(r.models.seen[1]?.messages.map(({ content }) => content)).toEqual(['a', [{ type: 'text', text: 'half' }], 'b'])
  })

  test('twice is one; after the end it changes nothing', async () => {
    const r = await rig({ script: [[NEVER]] })
    await r.send('hi')
    await r.until('TurnStarted')
    expect([(await r.cancel()).cancel, (await r.cancel()).cancel]).toEqual(['cancelling', 'cancelling'])
    await r.ended()
    const head = await r.store.head(r.id)
    expect((await r.cancel()).cancel).toBe('cancelled')
    expect(await r.store.head(r.id)).toBe(head)
    expect(await r.events('CancelRequested')).toHaveLength(1)
  })

  test('a message that waits starts the next run', async () => {
    const r = await rig({ script: (_request, call) => (call === 0 ? [NEVER] : END) })
    await r.send('a')
    await r.until('TurnStarted')
    await r.followUp('b')
    await r.cancel()
    await r.until('RunCompleted', 2)
    expect((await r.events('RunCompleted')).map(({ stopReason }) => stopReason)).toEqual(['cancelled', 'completed'])
  })

  test('deleting the session ends its run, and drops what waits', async () => {
    const r = await rig({ script: [[...text('x'), NEVER]] })
    await r.send('a')
    await r.until('TextDelta')
    await r.followUp('b')
    await r.execute({ type: 'DeleteSession' })
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    await settle()
    expect(await r.events('RunStarted')).toHaveLength(1)
  })
})

describe('a driver that does not confirm', () => {
  function gate() {
    let open: () => void = () => undefined
    const passed = new Promise<void>((resolve) => (open = resolve))
    return { passed, open: () => open() }
  }

  test.each<[string, (until: Promise<unknown>) => Partial<RigOptions> & Pick<RigOptions, 'script'>, readonly string[]]>([
    [
      'a deaf model',
      (until) => ({ script: (_request, call) => (call === 0 ? [...text('half'), until, ...text('late'), stop()] : END), models: { deaf: true } }),
      [],
    ],
    [
      'a deaf tool',
      (until) => ({ script: (_request, call) => (call === 0 ? asks(['a', 'act'], ['b', 'act']) : END), tools: [deafTool(until)] }),
      ['a: TOOL_CALL_OUTCOME_UNKNOWN: the call was interrupted; it may or may not have taken effect', 'b: TOOL_CALL_CANCELLED'],
    ],
  ])('because of %s has 150 ms, then the run is ended over its head, and what it still writes is refused', async (_what, options, results) => {
    const g = gate()
    const r = await rig(options(g.passed))
    await r.send('hi')
    await settle()
    expect((await r.cancel()).cancel).toBe('cancelling')
    r.clock.advance(149)
    await settle()
    expect(await r.events('RunCompleted')).toEqual([])
    r.clock.advance(1)
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    const log = await r.log()
    check(log, r.run)
    expect((await r.events('ToolCompleted')).map(({ toolCallId, result }) => `${toolCallId}: ${result}`)).toEqual(results)
    expect(await r.events('RunClaimed')).toMatchObject([{ fence: 2 }])
    g.open()
    await settle()
    expect(await r.log()).toEqual(log)
    expect(r.supervisor.active).toBe(0)
  })

  test('is heard at its next word, if it has one', async () => {
    const g = gate()
    const r = await rig({ script: [[...text('half'), g.passed, ...text('more'), NEVER]], models: { deaf: true } })
    await r.send('hi')
    await r.until('TextDelta')
    await r.cancel()
    g.open()
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    expect(await r.events('RunClaimed')).toEqual([])
  })

  test('the next run begins while the old driver is still stuck, and neither hurts the other', async () => {
    const g = gate()
    const r = await rig({ script: (_request, call) => (call === 0 ? [...text('half'), g.passed, ...text('late'), stop()] : END), models: { deaf: true } })
    await r.send('a')
    await r.until('TextDelta')
    const first = r.run
    await r.send('b', {}, { whenBusy: 'interrupt' })
    r.clock.advance(150)
    await r.ended(first)
    expect(await r.ended(r.run)).toMatchObject({ stopReason: 'completed' })
    const log = await r.log()
    g.open()
    await settle()
    expect(await r.log()).toEqual(log)
    expect(JSON.stringify(log)).not.toContain('late')
  })

  test('a driver that confirmed leaves nothing for the 150 ms', async () => {
    const r = await rig({ script: [[NEVER]] })
    await r.send('hi')
    await r.until('TurnStarted')
    await r.cancel()
    await r.ended()
    r.clock.advance(150)
    await settle()
    expect(await r.events('RunClaimed')).toEqual([])
    expect((await r.store.state(r.id))?.fence).toBe(1)
  })
})

describe('a process that dies before it confirmed', () => {
  test('leaves the end to the next one', async () => {
    const first = await rig({ script: [[...text('half'), NEVER]], models: { deaf: true } })
    await first.send('hi')
    await first.until('TextDelta')
    await first.cancel()
    const r = await first.restart({ script: [END] })
    expect(await r.ended(first.run)).toMatchObject({ stopReason: 'cancelled' })
    check(await r.log(), first.run)
    expect(r.models.seen).toEqual([])
  })

  test('leaves a call of which nobody knows the outcome: it is said so, and its processes are killed', async () => {
    const intent = { groupId: 7, startTicks: 9 }
    const act = scriptedTool('act', { intent, run: () => new Promise<string>(() => undefined) })
    const first = await rig({ script: [asks(['a', 'act'], ['b', 'act'])], tools: [act] })
    await first.send('hi')
    await first.until('ToolStarted')
    await first.cancel()
    const r = await first.restart({ script: [END] })
    expect(await r.ended(first.run)).toMatchObject({ stopReason: 'cancelled' })
    check(await r.log(), first.run)
    expect((await r.events('ToolCompleted')).map(({ toolCallId, result }) => `${toolCallId}: ${result}`)).toEqual([
      'a: TOOL_CALL_OUTCOME_UNKNOWN: the call was interrupted; it may or may not have taken effect',
      'b: TOOL_CALL_CANCELLED',
    ])
    expect(r.killed).toEqual([intent])
  })
})
