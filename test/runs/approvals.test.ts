import { describe, expect, test } from 'vitest'
import type { DecisionAction } from '../../src/domain/event.ts'
import { settle, TESTER } from '../../src/testing/run-kit.ts'
import { askTools, toolCall, type Line } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { asks, END, ENGINES, rig, type Rig } from './rig.ts'

const ASK = { mode: 'custom', rules: { free: 'approve', never: 'deny' }, default: 'ask' } as const

async function waiting(engine: 'memory' | 'sqlite', ...ids: readonly string[]) {
  const act = scriptedTool('act')
  const r = await rig({ engine, script: [asks(...ids), END], tools: [act], policy: ASK })
  await r.send('hi')
  await r.until('ApprovalRequested')
  await settle()
  return { r, act }
}

/** What the model is told of its calls, by id. */
const told = (r: Rig) =>
  r.models.seen[1]?.messages.flatMap(({ content }) =>
    typeof content === 'string'
      ? []
      : content.flatMap((part) => (part.type === 'tool_result' && typeof part.content === 'string' ? [`${part.toolCallId}: ${part.content}`] : [])),
  )

describe.each(ENGINES)('a call that asks, over %s', (engine) => {
  test('waits for a person, and nothing else happens', async () => {
    const { r, act } = await waiting(engine, 'a', 'b')
    expect(await r.events('ApprovalRequested')).toEqual([{ type: 'ApprovalRequested', runId: r.run, toolCallIds: ['a', 'b'] }])
    expect((await r.store.session(r.id))?.run.state).toBe('waiting')
    const log = await r.log()
    r.clock.advance(3_600_000)
    await settle()
    expect(await r.log()).toEqual(log)
    expect(act.runs.size).toBe(0)
  })

  test.each<[string, readonly [string, DecisionAction, string?], readonly string[], number]>([
    ['an accepted call runs', ['a', 'accept'], ['a: done a'], 1],
    ['a rejected one does not', ['a', 'reject'], ['a: Tool call rejected by user'], 0],
    ['a person’s own result stands in its place', ['a', 'custom_result', 'mine'], ['a: mine'], 0],
  ])('%s', async (_what, decision, results, runs) => {
    const { r, act } = await waiting(engine, 'a')
    await r.decide(decision)
    expect(await r.ended()).toMatchObject({ stopReason: 'completed', totalTurns: 2 })
    expect(told(r)).toEqual(results)
    expect(act.runs.get('a') ?? 0).toBe(runs)
  })
})

describe('answers', () => {
  test('count for one call, also where a model names a call of each turn alike', async () => {
    const act = scriptedTool('act')
    const r = await rig({ script: [asks('call_0'), asks('call_0'), END], tools: [act], policy: ASK })
    await r.send('hi')
    await r.until('ApprovalRequested')
    await r.decide(['call_0', 'accept'])
    await r.until('ApprovalRequested', 2)
    await settle()
    // The first answer, sent again.
    await expect(r.decide(['call_0', 'accept'])).rejects.toMatchObject({ code: 'tool_call_not_found' })
    expect([...act.runs]).toEqual([['call_0', 1]])
    await r.decide(['call_0-2', 'reject'])
    expect(await r.ended()).toMatchObject({ stopReason: 'completed', totalTurns: 3 })
    expect([...act.runs]).toEqual([['call_0', 1]])
  })

  test('may come as soon as the call is proposed: the question stands beside it in the same write', async () => {
    const { r } = await waiting('memory', 'a')
    const types = (await r.log()).map(({ event }) => event.type)
    expect(types[types.indexOf('ToolCallsProposed') + 1]).toBe('ApprovalRequested')
    const batches = (await r.store.readFeed(TESTER.user, 0, 256)).batches.map(({ events }) => events.map(({ type }) => type))
    expect(batches.filter((batch) => batch.includes('ToolCallsProposed') !== batch.includes('ApprovalRequested'))).toEqual([])
  })

  test('in any order: an accepted call waits for the ones before it, a rejected one for nobody', async () => {
    const { r, act } = await waiting('memory', 'a', 'b', 'c')
    await r.decide(['c', 'reject'])
    await r.until('ToolRejected')
    await r.decide(['b', 'accept'])
    await settle()
    expect(act.runs.size).toBe(0)
    await r.decide(['a', 'accept'])
    await r.ended()
    expect([...act.runs.keys()]).toEqual(['a', 'b'])
    expect(told(r)).toEqual(['c: Tool call rejected by user', 'a: done a', 'b: done b'])
  })

  test('in bulk', async () => {
    const { r, act } = await waiting('memory', 'a', 'b', 'c')
    await r.decide(['a', 'accept'], ['b', 'reject'], ['c', 'custom_result', 'mine'])
    await r.ended()
    expect(told(r)?.toSorted()).toEqual(['a: done a', 'b: Tool call rejected by user', 'c: mine'])
    expect([...act.runs]).toEqual([['a', 1]])
  })

  test('a bulk with one unknown call changes nothing', async () => {
    const { r } = await waiting('memory', 'a')
    const head = await r.store.head(r.id)
    await expect(r.decide(['a', 'accept'], ['zzz', 'accept'])).rejects.toMatchObject({ code: 'tool_call_not_found' })
    await settle()
    expect(await r.store.head(r.id)).toBe(head)
  })

  test('twice the same is one; the opposite afterwards is a conflict, also when the run is over', async () => {
    const { r, act } = await waiting('memory', 'a', 'b')
    await r.decide(['a', 'accept'])
    await r.decide(['a', 'accept'])
    await expect(r.decide(['a', 'reject'])).rejects.toMatchObject({ code: 'decision_conflict' })
    await r.decide(['b', 'accept'])
    await r.ended()
    await r.decide(['a', 'accept'])
    await expect(r.decide(['b', 'reject'])).rejects.toMatchObject({ code: 'decision_conflict' })
    expect(await r.events('ApprovalDecided')).toHaveLength(2)
    expect([...act.runs]).toEqual([
      ['a', 1],
      ['b', 1],
    ])
  })

  test('a message is none: a follow-up waits behind the question', async () => {
    const { r, act } = await waiting('memory', 'a')
    await r.followUp('yes')
    await settle()
    expect([act.runs.size, r.models.seen.length]).toEqual([0, 1])
    await r.decide(['a', 'accept'])
    expect(await r.ended()).toMatchObject({ totalTurns: 3 })
    expect(r.models.seen[2]?.messages.at(-1)).toEqual({ role: 'user', content: 'yes' })
  })

  test('a steering message supersedes the question, and the accepted calls that have not begun', async () => {
    const { r, act } = await waiting('memory', 'a', 'b')
    await r.decide(['b', 'accept'])
    await r.steer('rather not')
    await r.ended()
    expect(told(r)).toEqual(['a: Skipped due to steering update', 'b: Skipped due to steering update'])
    expect(r.models.seen[1]?.messages.at(-1)).toEqual({ role: 'user', content: 'rather not' })
    expect(act.runs.size).toBe(0)
  })
})

describe('policy in a run', () => {
  const mixed: readonly Line[] = [toolCall('f', 'free'), toolCall('n', 'never'), toolCall('a', 'act'), toolCall('l', 'look'), askTools()]
  const tools = () => [scriptedTool('free'), scriptedTool('never'), scriptedTool('act'), scriptedTool('look', { readOnly: true })]

  test('rules run, deny and ask; reading passes', async () => {
    const r = await rig({ script: [mixed, END], tools: tools(), policy: ASK })
    await r.send('hi')
    const asked = await r.until('ApprovalRequested')
    expect(asked.toolCallIds).toEqual(['a'])
    await r.until('ToolRejected')
    expect((await r.events('ToolRejected')).map(({ toolCallId, reason }) => `${toolCallId}: ${reason}`)).toEqual(['n: Tool call denied by policy'])
    await r.decide(['a', 'accept'])
    await r.ended()
    expect(told(r)?.toSorted()).toEqual(['a: done a', 'f: done f', 'l: done l', 'n: Tool call denied by policy'])
  })

  test.each([
    ['all', ['f', 'a', 'l'], []],
    ['none', [], ['f', 'a', 'l']],
    [['act'], ['a'], ['f', 'l']],
  ] as const)('a run with autoApprove %j asks for the rest, and lifts no denial', async (autoApprove, runs, asked) => {
    const r = await rig({ script: [mixed, END], tools: tools(), policy: ASK })
    await r.send('hi', { autoApprove })
    if (asked.length > 0) {
      expect((await r.until('ApprovalRequested')).toolCallIds).toEqual(asked)
      await r.decide(...asked.map((id) => [id, 'reject'] as const))
    }
    await r.ended()
    expect((await r.events('ToolStarted')).map(({ toolCallId }) => toolCallId)).toEqual(runs)
    expect((await r.events('ToolRejected')).map(({ toolCallId }) => toolCallId)).toContain('n')
  })

  test('accepting a call that policy approved is no event', async () => {
    const r = await rig({ script: [mixed, END], tools: tools(), policy: ASK })
    await r.send('hi')
    await r.until('ApprovalRequested')
    await r.decide(['f', 'accept'])
    expect(await r.events('ApprovalDecided')).toEqual([])
    await r.decide(['a', 'reject'])
    await r.ended()
  })
})
