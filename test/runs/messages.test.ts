import { describe, expect, test } from 'vitest'
import { settle } from '../../src/testing/run-kit.ts'
import { failure, text, tokens, type Line } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { asks, END, ENGINES, gate, rig, type Rig } from './rig.ts'

const said = (r: Rig, call: number) => r.models.seen[call]?.messages.flatMap(({ role, content }) => (role === 'user' ? [content] : []))

/** A gate that a script or a tool waits at. */
describe.each(ENGINES)('over %s', (engine) => {
  test('steering is taken in before the next call, all of it, and before follow-ups', async () => {
    const g = gate()
    const act = scriptedTool('act', { run: () => g.passed.then(() => 'ok') })
    const r = await rig({ engine, script: [asks('c1', 'c2'), END, END], tools: [act] })
    await r.send('start')
    await r.until('ToolStarted')
    await r.followUp('later')
    await r.steer('now')
    await r.steer('and this')
    g.open()
    expect(await r.ended()).toMatchObject({ totalTurns: 3 })
    expect([said(r, 1), said(r, 2)]).toEqual([
      ['start', 'now', 'and this'],
      ['start', 'now', 'and this', 'later'],
    ])
    // The call that ran keeps its result; the one that had not begun is skipped.
    expect((await r.events('ToolCompleted')).map(({ toolCallId }) => toolCallId)).toEqual(['c1'])
    expect(await r.events('ToolRejected')).toMatchObject([{ toolCallId: 'c2', reason: 'Skipped due to steering update' }])
    expect((await r.events('MessageAdded')).flatMap(({ delivery }) => (delivery === undefined ? [] : [delivery]))).toEqual(['steer', 'steer', 'follow_up'])
  })

  test('each follow-up gets its own turn, in order', async () => {
    const g = gate()
    const r = await rig({ engine, script: (_request, call) => (call === 0 ? [g.passed, ...END] : END) })
    await r.send('start')
    await r.until('TurnStarted')
    await r.followUp('one')
    await r.followUp('two')
    g.open()
    expect(await r.ended()).toMatchObject({ totalTurns: 3 })
    expect([said(r, 1), said(r, 2)]).toEqual([
      ['start', 'one'],
      ['start', 'one', 'two'],
    ])
    expect((await r.events('RunStarted')).length).toBe(1)
  })

  test('an interrupt ends the run as cancelled and starts the next with its message, before others that wait', async () => {
    const r = await rig({ engine, script: (_request, call) => (call === 0 ? [...text('long'), new Promise(() => undefined)] : END) })
    await r.send('start')
    const first = r.run
    await r.until('TextDelta')
    await r.followUp('patient')
    await r.send('stop that', {}, { whenBusy: 'interrupt' })
    expect(r.run).not.toBe(first)
    expect(await r.ended(first)).toMatchObject({ stopReason: 'cancelled' })
    await r.ended(r.run)
    expect(said(r, 1)).toEqual(['start', 'stop that'])
    expect(said(r, 2)).toEqual(['start', 'stop that', 'patient'])
    const partial = (await r.events('MessageAdded')).find((event) => event.partial === true)
    expect(partial?.message).toEqual({ role: 'assistant', content: [{ type: 'text', text: 'long' }] })
  })
})

describe('a message is never lost', () => {
  test.each(['steer', 'enqueue'] as const)('one that comes while the answer is on its way to the log gets its turn: %s', async (whenBusy) => {
    // The message is committed right before the commit that would have ended the run.
    let sent = false
    const r = await rig({
      script: [END, END],
      fateOf: (_commit, writes) => {
        if (sent || !writes.some((write) => write.kind === 'decide' && write.command.type === 'FinishRun')) return 'pass'
        sent = true
        void r.send('wait!', {}, { whenBusy })
        return 'pass'
      },
    })
    await r.send('start')
    await r.ended()
    expect(sent).toBe(true)
    expect(said(r, 1)).toEqual(['start', 'wait!'])
    expect(await r.events('RunStarted')).toHaveLength(1)
    const usage = await r.events('UsageReported')
    expect(usage).toHaveLength(2)
    expect((await r.ended()).totalUsage).toEqual(tokens(20, 2))
  })

  test.each([
    ['completed', END],
    ['failed', [failure('model_auth')]],
  ] as const)('one that comes after the end of a run that %s starts the next', async (_how, script) => {
    const r = await rig({ script: (_request, call) => (call === 0 ? script : END) })
    await r.send('start')
    const first = r.run
    await r.ended()
    await r.send('more', {}, { delivery: 'follow_up', runId: first })
    expect(r.run).not.toBe(first)
    await r.ended()
    expect(said(r, 1)).toEqual(['start', 'more'])
  })

  test('steering of a run that is over is refused, and changes nothing', async () => {
    const r = await rig({ script: [END] })
    await r.send('start')
    await r.ended()
    await settle()
    const head = await r.store.head(r.id)
    await expect(r.steer('late')).rejects.toMatchObject({ code: 'session_not_running' })
    expect(await r.store.head(r.id)).toBe(head)
  })

  test.each<[string, readonly Line[], string]>([
    ['failed', [failure('model_auth')], 'RunFailed'],
    ['took its last turn', END, 'RunCompleted'],
  ])('those that wait when a run %s start the next in the same write', async (_how, lines, type) => {
    const g = gate()
    const r = await rig({ script: (_request, call) => (call === 0 ? [g.passed, ...lines] : END) })
    await r.send('start', { maxTurns: 1 })
    await r.until('TurnStarted')
    await r.followUp('one')
    await r.followUp('two')
    g.open()
    await r.until('RunStarted', 2)
    const log = (await r.log()).map(({ event }) => event)
    const at = log.findIndex((event) => event.type === type)
    expect(log.slice(at + 1, at + 3)).toMatchObject([{ type: 'RunStarted' }, { type: 'MessageAdded', message: { content: 'one' }, delivery: 'follow_up' }])
    await settle()
    expect(said(r, r.models.seen.length - 1)).toEqual(['start', 'one', 'two'])
    expect((await r.store.state(r.id))?.queue).toEqual([])
  })

  test('those that wait outlive the process', async () => {
    const first = await rig({ script: [[new Promise(() => undefined)]] })
    await first.send('start')
    await first.until('TurnStarted')
    await first.followUp('one')
    await first.steer('two')
    const r = await first.restart({ script: [END, END, END] })
    await r.ended(first.run)
    expect(r.models.seen.map((_, call) => said(r, call))).toEqual([['start'], ['start', 'two'], ['start', 'two', 'one']])
  })

  test('a cancel that comes while the answer is on its way ends the run as cancelled, with the answer kept', async () => {
    let cancelled = false
    const r = await rig({
      script: [END],
      fateOf: (_commit, writes) => {
        if (cancelled || !writes.some((write) => write.kind === 'decide' && write.command.type === 'FinishRun')) return 'pass'
        cancelled = true
        void r.cancel()
        return 'pass'
      },
    })
    await r.send('start')
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    expect((await r.events('MessageAdded')).at(-1)).toMatchObject({ message: { content: [{ type: 'text', text: 'end' }] } })
    expect(await r.events('TurnCompleted')).toHaveLength(1)
  })
})

test('a message to a busy session is refused where its sender asked for that', async () => {
  const g = gate()
  const r = await rig({ script: [[g.passed, ...END]] })
  await r.send('start')
  await expect(r.send('more')).rejects.toMatchObject({ code: 'session_already_running' })
  g.open()
  await r.ended()
})
