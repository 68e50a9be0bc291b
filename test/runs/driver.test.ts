import { describe, expect, test } from 'vitest'
import type { Agent, RunContext, RunEnd } from '../../src/runtime/agent.ts'
import { ConvokeError } from '../../src/domain/errors.ts'
import type { RunEvent, StreamEvent } from '../../src/domain/event.ts'
import { messageId, runId } from '../../src/domain/ids.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import { RunGone } from '../../src/runtime/agent.ts'
import { OUTBOX_BYTES_MAX } from '../../src/runtime/outbox.ts'
import { TESTER, settle } from '../../src/testing/run-kit.ts'
import { stop, text } from '../../src/testing/scripted-model.ts'
import { rig, type Rig, type RigOptions } from './rig.ts'

const DONE: RunEnd = { outcome: { kind: 'completed', stopReason: 'completed' }, closing: [], totalTurns: 0, totalUsage: NO_USAGE }

/** A rig whose session is driven by `run`. */
async function driven(run: (context: RunContext) => Promise<void>, options: Partial<RigOptions> = {}): Promise<Rig> {
  const own: Agent = { name: 'own', run }
  return rig({ script: [[stop()]], agents: [own], ...options }, { agent: 'own' })
}

const delta = (context: RunContext, words: string): RunEvent => ({ type: 'TextDelta', runId: context.runId, delta: words })

describe('however an agent leaves, its run ends once (R2)', () => {
  test.each<[string, (context: RunContext) => Promise<void>, object]>([
    ['returning without an end', async () => undefined, { type: 'RunFailed', code: 'agent_failed', error: 'the agent returned without ending its run' }],
    [
      'throwing',
      async () => {
        throw new Error('private detail')
      },
      { type: 'RunFailed', code: 'agent_failed', error: 'the agent failed' },
    ],
    [
      'throwing with a code',
      async () => {
        throw new ConvokeError('model_auth', 'no key')
      },
      { type: 'RunFailed', code: 'model_auth', error: 'no key' },
    ],
    ['finishing', async (context) => void (await context.finish(DONE)), { type: 'RunCompleted', stopReason: 'completed' }],
    [
      'finishing, then throwing',
      async (context) => {
        await context.finish(DONE)
        throw new Error('late')
      },
      { type: 'RunCompleted', stopReason: 'completed' },
    ],
    [
      'finishing twice',
      async (context) => {
        await context.finish(DONE)
        await context.finish(DONE)
      },
      { type: 'RunCompleted' },
    ],
  ])('%s', async (_how, run, end) => {
    const r = await driven(run)
    await r.send('hi')
    expect(await r.ended()).toMatchObject(end)
    await settle()
    const terminal = (await r.log()).filter(({ event }) => event.type === 'RunCompleted' || event.type === 'RunFailed')
    expect(terminal).toHaveLength(1)
    expect(r.supervisor.active).toBe(0)
    expect(JSON.stringify(await r.log())).not.toContain('private detail')
  })

  test('open calls get a result: unknown if they had begun, cancelled if not', async () => {
    const r = await driven(async (context) => {
      const { runId } = context
      const call = (id: string) => ({ id, name: 'act', arguments: {}, disposition: 'approve' }) as const
      await context.record({ type: 'ToolCallsProposed', runId, turn: 1, calls: [call('a'), call('b')] })
      await context.record({ type: 'ToolStarted', runId, toolCallId: 'a', toolName: 'act', attempt: 1 })
      throw new Error('boom')
    })
    await r.send('hi')
    await r.ended()
    expect((await r.events('ToolCompleted')).map(({ toolCallId, result, isError }) => `${toolCallId} ${result.split(':')[0]} ${isError}`)).toEqual([
      'a TOOL_CALL_OUTCOME_UNKNOWN true',
      'b TOOL_CALL_CANCELLED true',
    ])
  })

  test('and so do calls that were still on their way to the log', async () => {
    const r = await driven(async (context) => {
      const { runId } = context
      await context.record({ type: 'TurnStarted', runId, turn: 1, attempt: 1, model: 'm' })
      void context.record({
        type: 'ToolCallsProposed',
        runId,
        turn: 1,
        calls: [{ id: 'a', name: 'act', arguments: {}, disposition: 'approve' }],
      })
      throw new Error('boom')
    })
    await r.send('hi')
    await r.ended()
    expect((await r.log()).map(({ event }) => event.type).slice(-4)).toEqual(['ToolCallsProposed', 'ToolCompleted', 'TurnCompleted', 'RunFailed'])
  })

  test('nothing that a part of the agent still does comes between its failure and the end of the run', async () => {
    const late: unknown[] = []
    const r = await driven(async (context) => {
      const { runId } = context
      void context.record({ type: 'TurnStarted', runId, turn: 1, attempt: 1, model: 'm' }).then(async () => {
        context.emit(delta(context, 'late'))
        await context.record(delta(context, 'later')).catch((error: unknown) => late.push(error))
      })
      throw new Error('boom')
    })
    await r.send('hi')
    await r.ended()
    await settle()
    expect((await r.log()).map(({ event }) => event.type).slice(-3)).toEqual(['TurnStarted', 'TurnCompleted', 'RunFailed'])
    expect(late).toEqual([expect.any(RunGone)])
  })

  test('a log that cannot even be read leaves the run to the next start, and brings nobody down', async () => {
    const r = await driven(
      async () => {
        await r.beneath.close()
        throw new Error('boom')
      },
      { engine: 'sqlite' },
    )
    await r.send('hi')
    await settle()
    expect(r.supervisor.active).toBe(0)
    expect(r.logged.map(({ message }) => message)).toContain('a failed run could not be ended')
    const next = await r.restart({ agents: [{ name: 'own', run: async (context) => void (await context.finish(DONE)) }] })
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
  })
})

describe('what an agent sees', () => {
  test('its run, as it was asked for', async () => {
    let seen: Partial<RunContext> = {}
    const r = await driven(async (context) => {
      seen = context
      await context.finish(DONE)
    })
    await r.send('hi', { systemPrompt: 'S', maxTurns: 3 })
    await r.ended()
    expect(seen).toMatchObject({ sessionId: r.id, runId: r.run, by: 'alice', startedAt: 2, options: { systemPrompt: 'S', maxTurns: 3 } })
  })

  test('every event from the start of its run on, its own too, once and in order (R1)', async () => {
    const seen: string[] = []
    const r = await driven(async (context) => {
      await context.follow(({ position, event }) => seen.push(`${position} ${event.type}`))
      context.emit(delta(context, 'a'))
      await context.record(delta(context, 'b'), delta(context, 'c'))
      expect(seen).toHaveLength(5)
      await context.finish(DONE)
    })
    await r.send('hi')
    await r.ended()
    expect(seen).toEqual(['2 RunStarted', '3 MessageAdded', '4 TextDelta', '5 TextDelta', '6 TextDelta', '7 RunCompleted'])
  })

  test('what others do, when it waits for it', async () => {
    const seen: StreamEvent['type'][] = []
    const r = await driven(async (context) => {
      await context.follow(({ event }) => seen.push(event.type))
      while (!seen.includes('MessageQueued')) await context.changed()
      await context.finish({ ...DONE, outcome: { kind: 'completed', stopReason: 'max_turns' } })
    })
    await r.send('hi')
    await settle()
    expect(r.supervisor.active).toBe(1)
    await r.steer('you')
    expect(await r.ended()).toMatchObject({ stopReason: 'max_turns' })
  })

  test('a message that arrived before its end: nothing is written, and it has been seen', async () => {
    const answers: string[] = []
    const r = await driven(async (context) => {
      const waiting: string[] = []
      await context.follow(({ event }) => void (event.type === 'MessageQueued' && waiting.push(event.messageId)))
      // Committed past the committer: no hint tells of it.
      const sent = { type: 'SendMessage', messageId: messageId('m'), newRunId: runId('next'), driver: 1, message: { role: 'user', content: 'more' } } as const
      const command = { ...sent, options: {}, whenBusy: 'enqueue' } as const
      await r.store.commit([{ kind: 'decide', stream: r.id, command, asker: TESTER, atMs: 0 }])
      answers.push(await context.finish(DONE), ...waiting)
      await context.finish({ ...DONE, outcome: { kind: 'failed', code: 'x', error: 'y' } })
    })
    await r.send('hi')
    await r.until('RunFailed')
    const [queued] = await r.events('MessageQueued')
    expect(answers.slice(0, 2)).toEqual(['input_pending', queued?.messageId])
    expect(await r.events('RunCompleted')).toEqual([])
  })

  test('why it must end: a cancel is an error with a code, anything else is that the run is gone', async () => {
    const reasons: unknown[] = []
    const r = await driven(async (context) => {
      await context.follow(() => undefined)
      await new Promise<void>((resolve) => context.signal.addEventListener('abort', () => resolve()))
      reasons.push(context.signal.reason)
      await context.finish({ ...DONE, outcome: { kind: 'completed', stopReason: 'cancelled' } })
      reasons.push(await context.record(delta(context, 'late')).catch((error: unknown) => error))
      reasons.push(await context.changed().catch((error: unknown) => error))
    })
    await r.send('hi')
    await r.execute({ type: 'CancelRun', runId: r.run })
    await settle()
    // Nothing was under way, so the cancel itself has ended the run.
    expect(reasons[0]).toMatchObject({ code: 'session_not_running' })
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    expect(reasons.slice(1).every((reason) => reason instanceof RunGone)).toBe(true)
    expect((await r.log()).at(-1)?.event.type).toBe('RunCompleted')
  })

  test('that the server stops, by flag, by signal and by a change', async () => {
    const seen: unknown[] = []
    const r = await driven(async (context) => {
      await context.follow(() => undefined)
      await context.changed()
      seen.push(context.stopping, context.released.aborted)
      await context.changed()
      seen.push(context.stopping, context.released.aborted, context.signal.aborted)
    })
    await r.send('hi')
    await settle()
    await r.supervisor.stop(1000)
    expect(seen).toEqual([false, false, true, true, false])
    expect((await r.store.state(r.id))?.run?.id).toBe(r.run)
  })
})

describe('the outbox of a run', () => {
  /** A rig whose first write of its driver is held up. */
  async function held(deltas: readonly string[]) {
    let letGo: () => void = () => undefined
    const passed = new Promise<void>((resolve) => (letGo = resolve))
    let holding = true
    const r = await rig({
      script: [[...text(...deltas), stop()]],
      fateOf: (_commit, writes) => {
        if (!holding || writes[0]?.kind !== 'record') return 'pass'
        holding = false
        return passed.then(() => 'pass' as const)
      },
    })
    await r.send('hi')
    await settle(200)
    return { r, letGo: () => letGo() }
  }

  test('holds up the provider when the log does not keep up, and loses nothing', async () => {
    const kilobyte = (index: number) => String(index).padEnd(1024, '.')
    const deltas = Array.from({ length: 2000 }, (_, index) => kilobyte(index))
    const { r, letGo } = await held(deltas)
    // Each costs its text and 96 bytes; the start of the turn waits with them.
    const fits = Math.ceil((OUTBOX_BYTES_MAX - 4 * 96) / (1024 + 96))
    expect(r.models.pulled).toBe(fits)
    letGo()
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
    expect((await r.events('TextDelta')).map((event) => event.delta)).toEqual(deltas)
  })

  test('does not hold it up below the bound', async () => {
    const { r, letGo } = await held(Array.from({ length: 100 }, () => 'x'.repeat(1024)))
    expect(r.models.pulled).toBe(102)
    letGo()
    await r.ended()
  })

  test('a cancel goes through while the provider is held up', async () => {
    const { r, letGo } = await held(Array.from({ length: 2000 }, () => 'x'.repeat(1024)))
    const { cancel } = await r.cancel()
    expect(cancel).toBe('cancelled')
    letGo()
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    await settle()
    expect(r.supervisor.active).toBe(0)
    expect((await r.log()).at(-1)?.event.type).toBe('RunCompleted')
  })
})
