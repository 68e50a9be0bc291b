/** Any order of commands, driver's steps and takeovers, against what a session promises. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { SendMessage, SessionCommand, WhenBusy } from '../domain/command.ts'
import type { DecisionAction, Delivery, StreamEvent } from '../domain/event.ts'
import type { MessageId, RunId } from '../domain/ids.ts'
import type { Principal } from '../domain/principal.ts'
import type { SessionState } from '../domain/session.ts'
import type { AppendWrite, RecordWrite } from './store.ts'
import { isTerminal } from '../domain/event.ts'
import { messageId, runId, sessionId, userId } from '../domain/ids.ts'
import { USER_SCOPES } from '../domain/principal.ts'
import { evolve } from '../domain/session.ts'
import { applyWrite, type Applied } from './apply.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const STREAM = sessionId('s1')
const USAGE = { inputTokens: 1, outputTokens: 1, totalTokens: 2 }

type Aim = 'active' | 'last' | 'none'
type Wish =
  | { readonly do: 'send'; readonly whenBusy: WhenBusy; readonly delivery: Delivery | undefined; readonly aim: Aim }
  | { readonly do: 'decide'; readonly call: number; readonly action: DecisionAction; readonly twice: boolean }
  | { readonly do: 'cancel'; readonly aim: Aim }
  | { readonly do: 'claim'; readonly late: number }
  | { readonly do: 'model'; readonly model: string }
  | { readonly do: 'drive'; readonly way: number }
  | { readonly do: 'force' | 'delete' | 'stale' }

const anAim = fc.constantFrom<Aim>('active', 'active', 'last', 'none')
const aWish: fc.Arbitrary<Wish> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('drive' as const), way: fc.nat(11) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      whenBusy: fc.constantFrom<WhenBusy>('reject', 'enqueue', 'steer', 'interrupt'),
      delivery: fc.constantFrom<Delivery | undefined>(undefined, undefined, 'steer', 'follow_up'),
      aim: anAim,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('decide' as const),
      call: fc.nat(3),
      action: fc.constantFrom<DecisionAction>('accept', 'reject', 'custom_result'),
      twice: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), aim: anAim }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('claim' as const), late: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('model' as const), model: fc.constantFrom('a/1', 'a/2') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('force' as const, 'stale' as const) }) },
)
const aDeletion: fc.Arbitrary<Wish> = fc.constant({ do: 'delete' })

/** A session with all that ever happened in it. */
class Simulation {
  state: SessionState | undefined
  readonly log: StreamEvent[] = []
  readonly accepted: MessageId[] = []
  #ids = 0

  constructor() {
    this.command({ type: 'CreateSession', title: 't', agent: 'coder', model: 'a/1' })
  }

  get session(): SessionState {
    if (this.state === undefined) throw new Error('the session was not created')
    return this.state
  }

  apply(write: AppendWrite): Applied {
    const applied = applyWrite(this.state, this.log.length, write)
    if (applied.kind === 'apply') {
      this.log.push(...applied.events)
      this.state = applied.state
    }
    return applied
  }

  command(command: SessionCommand, asker: Principal | 'driver' = ALICE): Applied {
    return this.apply({ kind: 'decide', stream: STREAM, command, asker, atMs: 1 })
  }

  /** Gives a command that may be repeated, then repeats it: the second time there must be nothing left to do. */
  twice(command: SessionCommand, asker: Principal | 'driver' = ALICE): void {
    const first = this.command(command, asker)
    if (first.kind !== 'apply') return
    const second = this.command(command, asker)
    // A cancel may have started the next run: then it is another run's, and refused.
    if (second.kind === 'apply') expect([second.events, second.reply.runId]).toEqual([[], first.reply.runId])
    else expect([command.type, second]).toEqual(['CancelRun', expect.objectContaining({ code: 'run_mismatch' })])
  }

  run(aim: Aim): RunId {
    const { run, lastRun } = this.session
    const found = aim === 'active' ? run?.id : aim === 'last' ? lastRun?.id : undefined
    return found ?? runId('no such run')
  }

  do(wish: Wish): void {
    const { session } = this
    switch (wish.do) {
      case 'send':
        return this.#send(wish)
      case 'decide': {
        const one = { toolCallId: `c${wish.call}`, action: wish.action, content: 'mine' }
        return this.twice({ type: 'DecideCalls', runId: this.run('active'), decisions: wish.twice ? [one, one] : [one] })
      }
      case 'cancel':
        return this.twice({ type: 'CancelRun', runId: this.run(wish.aim) })
      case 'claim':
        return this.twice({ type: 'ClaimRun', runId: this.run('active'), fence: session.fence - wish.late, driver: ++this.#ids }, 'driver')
      case 'model':
        return this.twice({ type: 'SetModel', runId: this.run('active'), model: wish.model })
      case 'force':
        return this.twice({ type: 'ForceCancel', runId: this.run('active') }, 'driver')
      case 'delete':
        return this.twice({ type: 'DeleteSession' })
      case 'stale':
        return expect(this.apply(this.#record([{ type: 'TextDelta', runId: this.run('active'), delta: 'late' }], session.fence - 1))).toEqual({
          kind: 'fenced',
        })
      case 'drive':
        return this.#drive(wish.way)
    }
  }

  #send(wish: Extract<Wish, { do: 'send' }>): void {
    const id = messageId(`m${++this.#ids}`)
    const options = this.#ids % 3 === 0 ? { model: 'a/3' } : {}
    const command: SendMessage = {
      type: 'SendMessage',
      messageId: id,
      newRunId: runId(`r${this.#ids}`),
      driver: 1,
      message: { role: 'user', content: 'x' },
      options,
      whenBusy: wish.whenBusy,
      ...(wish.delivery === undefined ? {} : { delivery: wish.delivery }),
      ...(wish.aim === 'none' ? {} : { runId: this.run(wish.aim) }),
    }
    if (this.command(command).kind === 'apply') this.accepted.push(id)
  }

  #record(events: RecordWrite['events'], fence = this.session.fence): RecordWrite {
    return { kind: 'record', stream: STREAM, runId: this.run('active'), fence, events, atMs: 1 }
  }

  /** One step of the run's driver that the log allows now; `way` chooses among them. */
  #drive(way: number): void {
    const { run, calls } = this.session
    if (run === undefined) return
    const steps = run.calling ? this.#afterCall(run.turn) : run.turnOpen ? this.#withCalls(run.turn) : this.#betweenTurns(run.turn)
    expect(calls.length).toBeLessThanOrEqual(3)
    steps[way % steps.length]?.()
  }

  #betweenTurns(turn: number): readonly (() => void)[] {
    const id = this.run('active')
    const start = { type: 'TurnStarted', runId: id, turn: turn + 1, attempt: 1, model: 'a/1' } as const
    const first = this.session.queue[0]
    const taken = first === undefined ? [] : [{ type: 'MessageAdded', messageId: first.messageId, runId: id, message: first.message } as const]
    return [() => this.apply(this.#record([...taken, start])), () => this.apply(this.#record([start])), () => this.#finish('completed')]
  }

  #afterCall(turn: number): readonly (() => void)[] {
    const id = this.run('active')
    const said = { type: 'MessageAdded', messageId: messageId(`a${++this.#ids}`), runId: id, message: { role: 'assistant', content: [] } } as const
    const used = { type: 'UsageReported', runId: id, turn, model: 'a/1', usage: USAGE } as const
    const calls = [0, 1, 2].map((n) => ({ id: `c${n}`, name: 't', arguments: {}, disposition: n === 0 ? 'approve' : 'ask' }) as const)
    const ended = { type: 'TurnCompleted', runId: id, turn, finishReason: 'stop' } as const
    return [
      () => this.apply(this.#record([said, used, { type: 'ToolCallsProposed', runId: id, turn, calls }])),
      () => this.#finish('completed', [said, used, ended]),
      () => this.apply(this.#record([said, used, ended])),
      () => this.apply(this.#record([{ type: 'RetryScheduled', runId: id, attempt: 1, delayMs: 1, reason: 'busy' }])),
      () => this.#finish('failed'),
    ]
  }

  #withCalls(turn: number): readonly (() => void)[] {
    const id = this.run('active')
    const unfinished = this.session.calls.filter((call) => call.status !== 'ended')
    const [call] = unfinished
    if (call === undefined) return [() => this.apply(this.#record([{ type: 'TurnCompleted', runId: id, turn, finishReason: 'tool_calls' }]))]
    const of = { runId: id, toolCallId: call.id, toolName: call.name }
    const end = () => this.apply(this.#record([{ type: 'ToolCompleted', ...of, result: 'ok', isError: false }]))
    if (call.status === 'started') return [end]
    if (call.status === 'open' && call.disposition === 'ask')
      return [() => this.apply(this.#record([{ type: 'ApprovalRequested', runId: id, toolCallIds: unfinished.map((open) => open.id) }]))]
    if (call.status === 'asked') return [() => this.apply(this.#record([{ type: 'ToolRejected', ...of, reason: 'steered' }])), () => undefined]
    return [() => this.apply(this.#record([{ type: 'ToolStarted', ...of, attempt: 1 }])), end, () => this.#finish('max_turns')]
  }

  #finish(how: 'completed' | 'max_turns' | 'failed', closing: Extract<SessionCommand, { type: 'FinishRun' }>['closing'] = []): void {
    const outcome = how === 'failed' ? ({ kind: 'failed', code: 'agent_failed', error: '' } as const) : ({ kind: 'completed', stopReason: how } as const)
    const { fence, run } = this.session
    this.command({ type: 'FinishRun', runId: this.run('active'), fence, closing, outcome, totalTurns: run?.turn ?? 0, totalUsage: USAGE }, 'driver')
  }

  /** Ends every run that is left, over the heads of their drivers. */
  drain(): void {
    for (let left = 80; this.session.run !== undefined && left > 0; left--) {
      const id = this.run('active')
      this.command({ type: 'CancelRun', runId: id })
      if (this.session.run?.id === id) this.command({ type: 'ForceCancel', runId: id }, 'driver')
    }
  }
}

function play(wishes: readonly Wish[], check: (simulation: Simulation) => void = () => undefined): Simulation {
  const simulation = new Simulation()
  for (const wish of wishes) {
    simulation.do(wish)
    check(simulation)
  }
  return simulation
}

const ofRun = (event: StreamEvent): RunId | undefined => ('runId' in event ? event.runId : undefined)
// The default size makes short lists, which hardly get into a second run.
const wishes = fc.array(aWish, { maxLength: 120, size: 'max' })
const withDeletion = fc
  .tuple(wishes, aDeletion, fc.array(aWish, { maxLength: 20, size: 'max' }))
  .map(([before, deletion, after]) => [...before, deletion, ...after])

test('every run that starts ends exactly once, and its end is its last event (P6)', () => {
  fc.assert(
    fc.property(fc.oneof(wishes, withDeletion), (all) => {
      const simulation = play(all)
      simulation.drain()
      expect(simulation.session.run).toBeUndefined()
      const started = simulation.log.flatMap((event) => (event.type === 'RunStarted' ? [event.runId] : []))
      expect(new Set(started).size).toBe(started.length)
      expect(simulation.log.flatMap((event) => (isTerminal(event) ? [event.runId] : []))).toEqual(started)
      for (const id of started) {
        const own = simulation.log.filter((event) => ofRun(event) === id)
        expect([own[0]?.type, own.findIndex(isTerminal)]).toEqual(['RunStarted', own.length - 1])
        const cancelled = own.some((event) => event.type === 'RunCompleted' && event.stopReason === 'cancelled')
        if (cancelled) expect(own.map((event) => event.type)).toContain('CancelRequested')
      }
    }),
    { numRuns: 300 },
  )
})

test('an accepted message is never lost: it is said once, or it waits, and in the end all are said (M1)', () => {
  const said = (simulation: Simulation) =>
    simulation.log.flatMap((event) => (event.type === 'MessageAdded' && event.message.role === 'user' ? [event.messageId] : []))
  const byName = (ids: readonly MessageId[]) => ids.toSorted()
  fc.assert(
    fc.property(wishes, (all) => {
      const simulation = play(all, (now) => {
        expect(byName([...said(now), ...now.session.queue.map((waiting) => waiting.messageId)])).toEqual(byName(now.accepted))
        // What waits has a run to wait for.
        if (now.session.run === undefined) expect(now.session.queue).toEqual([])
      })
      simulation.drain()
      expect(byName(said(simulation))).toEqual(byName(simulation.accepted))
    }),
    { numRuns: 300 },
  )
})

test('a deleted session starts no run and takes no message', () => {
  fc.assert(
    fc.property(wishes, wishes, (before, after) => {
      const simulation = play([...before, { do: 'delete' }])
      const { length } = simulation.log
      const accepted = simulation.accepted.length
      for (const wish of after) simulation.do(wish)
      simulation.drain()
      expect(simulation.log.slice(length).filter((event) => event.type === 'RunStarted' || event.type === 'MessageQueued')).toEqual([])
      expect(simulation.accepted).toHaveLength(accepted)
    }),
    { numRuns: 150 },
  )
})

test('fences grow with each start and each takeover, and the state holds the last one', () => {
  fc.assert(
    fc.property(fc.oneof(wishes, withDeletion), (all) => {
      const { log, session } = play(all)
      const fences = log.flatMap((event) => (event.type === 'RunStarted' || event.type === 'RunClaimed' ? [event.fence] : []))
      expect(fences).toEqual(fences.map((_, index) => index + 1))
      expect(session.fence).toBe(fences.length)
    }),
    { numRuns: 150 },
  )
})

test('a call has at most one answer in a turn, and at most one result', () => {
  fc.assert(
    fc.property(wishes, (all) => {
      let seen = new Map<string, number>()
      for (const event of play(all).log) {
        if (event.type === 'ToolCallsProposed') seen = new Map()
        const what = event.type === 'ApprovalDecided' ? 'answer' : event.type === 'ToolCompleted' || event.type === 'ToolRejected' ? 'result' : undefined
        if (what === undefined || !('toolCallId' in event)) continue
        const key = `${what} ${event.toolCallId}`
        seen.set(key, (seen.get(key) ?? 0) + 1)
        expect([key, seen.get(key)]).toEqual([key, 1])
      }
    }),
    { numRuns: 150 },
  )
})

test('each turn that starts is completed at most once', () => {
  fc.assert(
    fc.property(wishes, (all) => {
      const ends = play(all).log.flatMap((event) => (event.type === 'TurnCompleted' ? [`${event.runId} ${event.turn}`] : []))
      expect(new Set(ends).size).toBe(ends.length)
    }),
    { numRuns: 150 },
  )
})

test('the state is the fold of the log, stays bounded, and its run stands where it started', () => {
  fc.assert(
    fc.property(fc.oneof(wishes, withDeletion), (all) => {
      const { log, session } = play(all)
      expect(log.reduce<SessionState | undefined>((state, event, index) => evolve(state, event, index + 1), undefined)).toEqual(session)
      const { queue, calls, ...row } = session
      expect(JSON.stringify(row).length).toBeLessThan(1024)
      expect([queue.length <= 64, calls.length <= 256]).toEqual([true, true])
      if (session.run !== undefined) expect(log[session.run.startedAt - 1]).toMatchObject({ type: 'RunStarted', runId: session.run.id })
    }),
    { numRuns: 150 },
  )
})
