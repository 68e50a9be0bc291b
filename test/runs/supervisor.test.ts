import { describe, expect, test } from 'vitest'
import type { SessionCommand } from '../../src/domain/command.ts'
import type { Agent } from '../../src/runtime/agent.ts'
import { isTerminal } from '../../src/domain/event.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import { messageId, runId, sessionId } from '../../src/domain/ids.ts'
import { TESTER, settle } from '../../src/testing/run-kit.ts'
import { stop, text } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ASK_ALL, asks, END, ENGINES, gate, NEVER, rig, type Rig } from './rig.ts'

describe.each(ENGINES)('a start over %s', (engine) => {
  test('takes over what another process left, under a higher fence, and ends it once', async () => {
    const first = await rig({ engine, script: [[...text('half'), NEVER]] })
    await first.send('hi')
    await first.until('TextDelta')
    const r = await first.restart({ script: [END] })
    expect(await r.ended(first.run)).toMatchObject({ stopReason: 'completed' })
    expect(await r.events('RunClaimed')).toEqual([{ type: 'RunClaimed', runId: first.run, fence: 2, driver: r.store.driver }])
    expect(r.store.driver).toBeGreaterThan(first.store.driver)
    await r.send('more')
    await r.ended()
    expect((await r.events('RunStarted')).map(({ fence }) => fence)).toEqual([1, 3])
  })

  test.each([
    ['is killed, and its outcome is unknown', false, ['TOOL_CALL_OUTCOME_UNKNOWN'], 1],
    ['is killed before it is run again, where its tool allows that', true, ['done'], 2],
  ])('what a tool left %s', async (_what, repeatable, results, runs) => {
    const intent = { groupId: 7, startTicks: 9 }
    let life: Rig
    const killedBefore: number[] = []
    const act = scriptedTool('act', {
      intent,
      repeatable,
      run: () => {
        killedBefore.push(life.killed.length)
        return life === first ? new Promise<string>(() => undefined) : 'done'
      },
    })
    const first = await rig({ engine, script: [asks('a')], tools: [act] })
    life = first
    await first.send('hi')
    await first.until('ToolStarted')
    await settle()
    life = await first.restart({ script: [END] })
    await life.ended(first.run)
    expect(life.killed).toEqual([intent])
    expect((await life.events('ToolCompleted')).map(({ result }) => result.split(':')[0])).toEqual(results)
    expect([act.runs.get('a'), ...killedBefore]).toEqual(repeatable ? [runs, 0, 1] : [runs, 0])
    expect((await life.events('ToolStarted')).map(({ attempt }) => attempt)).toEqual(repeatable ? [1, 2] : [1])
  })

  test('finds nothing to do where nothing was left', async () => {
    const first = await rig({ engine, script: [END] })
    await first.send('hi')
    await first.ended()
    const r = await first.restart()
    await settle()
    expect(r.supervisor.active).toBe(0)
    expect(await r.events('RunClaimed')).toEqual([])
  })
})

describe('lost hints', () => {
  test('a run whose start nobody was told of is driven after the second poll', async () => {
    const r = await rig({ script: [END] })
    // Committed past the committer: as if the process had died between commit and hint.
    const { run } = await silently(r, 'hi')
    r.clock.advance(1000)
    await settle()
    expect(r.models.seen).toHaveLength(0)
    r.clock.advance(1000)
    expect(await r.ended(run)).toMatchObject({ stopReason: 'completed' })
  })

  test('a poll takes no run from a driver of its own', async () => {
    const r = await rig({ script: [[NEVER]] })
    await r.send('hi')
    await r.until('TurnStarted')
    for (let polls = 5; polls > 0; polls--) {
      r.clock.advance(1000)
      await settle()
    }
    expect(await r.events('RunClaimed')).toEqual([])
    expect(r.models.seen).toHaveLength(1)
  })

  test('a poll that fails is logged, and the next one goes on', async () => {
    let failing = true
    const r = await rig({
      script: [END],
      fateOf: (_commit, writes) => (failing && writes[0]?.kind === 'decide' && writes[0].command.type === 'ClaimRun' ? 'fail-before' : 'pass'),
    })
    const { run } = await silently(r, 'hi')
    for (let polls = 3; polls > 0; polls--) {
      r.clock.advance(1000)
      await settle()
    }
    expect(r.logged.filter(({ level, message }) => level === 'error' && message.includes('poll'))).toHaveLength(2)
    failing = false
    r.clock.advance(1000)
    expect(await r.ended(run)).toMatchObject({ stopReason: 'completed' })
  })

  test.each<[string, (r: Rig) => SessionCommand, string]>([
    ['an answer', (r) => ({ type: 'DecideCalls', runId: r.run, decisions: [{ toolCallId: 'a', action: 'accept' }] }), 'completed'],
    ['a steering message', (r) => ({ ...MESSAGE, newRunId: runId('r'), driver: r.store.driver, delivery: 'steer', runId: r.run }), 'completed'],
  ])('%s that nobody was told of is seen at the next poll', async (_what, command, stopReason) => {
    const r = await rig({ script: [asks('a'), END], tools: [scriptedTool('act')], policy: ASK_ALL })
    await r.send('hi')
    await r.until('ApprovalRequested')
    await settle()
    await commitSilently(r, command(r))
    await settle()
    expect((await r.store.state(r.id))?.run?.id).toBe(r.run)
    r.clock.advance(1000)
    expect(await r.ended()).toMatchObject({ stopReason })
  })

  test('a cancel that nobody was told of is seen at the next poll', async () => {
    const r = await rig({ script: [[...text('half'), NEVER]] })
    await r.send('hi')
    await r.until('TextDelta')
    await commitSilently(r, { type: 'CancelRun', runId: r.run })
    r.clock.advance(1000)
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
  })

  test('and one of a driver that does not confirm is forced by the poll after it', async () => {
    const r = await rig({ script: [[...text('half'), NEVER]], models: { deaf: true } })
    await r.send('hi')
    await r.until('TextDelta')
    await commitSilently(r, { type: 'CancelRun', runId: r.run })
    r.clock.advance(1000)
    await settle()
    expect((await r.store.state(r.id))?.run?.id).toBe(r.run)
    r.clock.advance(1000)
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    const { commits } = r.store
    for (let polls = 3; polls > 0; polls--) {
      r.clock.advance(1000)
      await settle()
    }
    // The stuck driver costs no more writes.
    expect(r.store.commits).toBe(commits)
  })

  const MESSAGE = { type: 'SendMessage', messageId: messageId('m'), message: { role: 'user', content: 'hm' }, options: {}, whenBusy: 'reject' } as const

  /** Commits past the committer: as if the process had lost the hint. */
  async function commitSilently(r: Rig, command: SessionCommand): Promise<void> {
    const [outcome] = await r.store.commit([{ kind: 'decide', stream: r.id, command, asker: TESTER, atMs: r.clock.nowMs() }])
    expect(outcome?.kind).toBe('appended')
  }

  /** Starts a run without a hint to anybody. */
  async function silently(r: Rig, content: string) {
    const run = runId('01900000-0000-7000-a000-000000000001')
    await commitSilently(r, { ...MESSAGE, newRunId: run, driver: r.store.driver, message: { role: 'user', content } })
    return { run }
  }
})

test.each(['at once', 'after a lost hint'])('two sessions with one run id, as a copy and what it was copied from, are both driven %s', async (how) => {
  const r = await rig({ script: (_request, call) => (call === 0 ? [NEVER] : END) })
  const copy = sessionId('01900000-0000-7000-8000-000000000002')
  const both = runId('01900000-0000-7000-a000-000000000001')
  const message = { role: 'user', content: 'hi' } as const
  const write = (stream: SessionId, command: SessionCommand) => ({ kind: 'decide', stream, command, asker: TESTER, atMs: r.clock.nowMs() }) as const
  const send = (stream: SessionId, id: string) => {
    const ids = { messageId: messageId(id), newRunId: both, driver: r.store.driver }
    return write(stream, { type: 'SendMessage', ...ids, message, options: {}, whenBusy: 'reject' })
  }
  const writes = [write(copy, { type: 'CreateSession', title: 'copy', agent: 'convoke' }), send(r.id, 'm1'), send(copy, 'm2')]
  await (how === 'at once' ? r.committer : r.store).commit(writes)
  for (let polls = 3; polls > 0; polls--) {
    await settle()
    r.clock.advance(1000)
  }
  await settle()
  const states = [await r.store.state(r.id), await r.store.state(copy)]
  expect(states.map((state) => state?.run?.id ?? 'ended')).toEqual([both, 'ended'])
  expect(r.supervisor.active).toBe(1)
})

describe('one driver (P4)', () => {
  const claim = (r: Rig) =>
    ({ kind: 'decide', stream: r.id, command: { type: 'ClaimRun', runId: r.run, fence: 1, driver: 99 }, asker: 'driver', atMs: r.clock.nowMs() }) as const

  test.each([
    ['that is told', (r: Rig) => r.committer.commit([claim(r)])],
    ['that is not told', (r: Rig) => r.store.commit([claim(r)])],
  ])('a driver %s of a takeover writes nothing more, and ends nothing', async (_how, take) => {
    const g = gate()
    const r = await rig({ script: [[...text('mine'), g.passed, ...text('stale'), stop()]], models: { deaf: true } })
    await r.send('hi')
    await r.until('TextDelta')
    await take(r)
    const log = await r.log()
    g.open()
    await settle()
    expect(await r.log()).toEqual(log)
    expect(log.at(-1)?.event).toMatchObject({ type: 'RunClaimed', fence: 2 })
    expect(r.supervisor.active).toBe(0)
    expect((await r.store.state(r.id))?.run?.id).toBe(r.run)
  })

  test('a driver that is told ends its model call and its tools at once', async () => {
    const seen: unknown[] = []
    const act = scriptedTool('act', {
      run: ({ signal }) => new Promise<string>((resolve) => signal.addEventListener('abort', () => (seen.push(String(signal.reason)), resolve('')))),
    })
    const r = await rig({ script: [asks('a')], tools: [act] })
    await r.send('hi')
    await r.until('ToolStarted')
    await r.committer.commit([claim(r)])
    await settle()
    expect(seen).toEqual(['RunGone: another driver has this run'])
    expect([act.left, r.supervisor.active]).toEqual([0, 0])
    expect(await r.events('ToolCompleted')).toEqual([])
  })
})

describe('a crash loop', () => {
  test('three takeovers without a finished step are allowed, the fourth ends the run', async () => {
    const first = await rig({ script: [[...text('x'), NEVER]] })
    await first.send('hi')
    const { run } = first
    let r = first
    for (let takeovers = 1; takeovers <= 3; takeovers++) {
      await r.until('TextDelta', takeovers)
      r = await r.restart()
    }
    await r.until('TextDelta', 4)
    expect(r.supervisor.active).toBe(1)
    r = await r.restart()
    expect(await r.ended(run)).toMatchObject({ type: 'RunFailed', code: 'crash_loop', error: 'the run was interrupted 3 times without progress' })
    expect(r.models.seen).toHaveLength(0)
    await settle()
    expect(r.supervisor.active).toBe(0)
  })

  test('its open calls get a result', async () => {
    const act = scriptedTool('act', { repeatable: true, run: () => new Promise<string>(() => undefined) })
    let r = await rig({ script: [asks('a', 'b')], tools: [act] })
    await r.send('hi')
    const { run } = r
    for (let lives = 1; lives <= 4; lives++) {
      await r.until('ToolStarted', lives)
      r = await r.restart()
    }
    expect(await r.ended(run)).toMatchObject({ code: 'crash_loop' })
    expect((await r.events('ToolCompleted')).map(({ toolCallId, result }) => `${toolCallId} ${result.split(':')[0]}`)).toEqual([
      'a TOOL_CALL_OUTCOME_UNKNOWN',
      'b TOOL_CALL_CANCELLED',
    ])
  })

  test('a finished step begins the count anew', async () => {
    let calls = 0
    // Each life finishes one turn and hangs in the next.
    const script = () => (calls++ % 2 === 0 ? asks(`c${calls}`) : [NEVER])
    let r = await rig({ script, tools: [scriptedTool('act')] })
    await r.send('hi')
    for (let life = 1; life <= 6; life++) {
      await r.until('TurnStarted', life + 1)
      await settle()
      r = await r.restart()
    }
    await settle()
    expect((await r.log()).some(({ event }) => isTerminal(event))).toBe(false)
  })

  test('a run that waits for a person may be taken over any number of times', async () => {
    const act = scriptedTool('act')
    let r = await rig({ script: (_request, call) => (call === 0 ? asks('a') : END), tools: [act], policy: ASK_ALL })
    await r.send('hi')
    const { run } = r
    await r.until('ApprovalRequested')
    for (let restarts = 0; restarts < 6; restarts++) {
      await r.supervisor.stop(1000)
      r = await r.restart({ script: [END] })
      await settle()
    }
    await r.execute({ type: 'DecideCalls', runId: run, decisions: [{ toolCallId: 'a', action: 'accept' }] })
    expect(await r.ended(run)).toMatchObject({ stopReason: 'completed' })
    expect([...act.runs]).toEqual([['a', 1]])
  })
})

describe.each(ENGINES)('a run of an agent that a start does not have, over %s', (engine) => {
  const end = {
    outcome: { kind: 'completed', stopReason: 'completed' },
    closing: [],
    totalTurns: 0,
    totalUsage: { inputTokens: 0, outputTokens: 0, totalTokens: 0 },
  } as const
  const mine = (wait: boolean): Agent => ({
    name: 'mine',
    async run(context) {
      await context.follow(() => undefined)
      while (wait) await context.changed()
      await context.finish(end)
    },
  })

  test('is left as it is, and goes on at the next start that has it', async () => {
    const first = await rig({ engine, script: [END], agents: [mine(true)] }, { agent: 'mine' })
    await first.send('hi')
    await settle()
    const without = await first.restart({ agents: [] })
    const before = await without.log()
    for (let polls = 0; polls < 5; polls++) {
      without.clock.advance(1000)
      await settle()
    }
    expect(await without.log()).toEqual(before)
    expect(without.logged.filter(({ message }) => message.includes('waits for an agent'))).toMatchObject([{ level: 'warn', fields: { agent: 'mine' } }])
    const r = await without.restart({ agents: [mine(false)] })
    expect(await r.ended(first.run)).toMatchObject({ type: 'RunCompleted' })
  })

  test('can be cancelled meanwhile', async () => {
    const first = await rig({ engine, script: [END], agents: [mine(true)] }, { agent: 'mine' })
    await first.send('hi')
    await settle()
    const without = await first.restart({ agents: [] })
    await without.cancel(first.run)
    expect(await without.ended(first.run)).toMatchObject({ type: 'RunCompleted', stopReason: 'cancelled' })
  })
})
