/** What becomes of a run whose process dies in the middle of a step, as its session wants it. */
import { describe, expect, test } from 'vitest'
import { TESTER, settle } from '../../src/testing/run-kit.ts'
import { text } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ASK_ALL, asks, END, ENGINES, NEVER, rig } from './rig.ts'

const intent = { groupId: 7, startTicks: 9 }
const hanging = () => scriptedTool('act', { intent, run: () => new Promise<string>(() => undefined) })

describe.each(ENGINES)('over %s, a run cut off in a model call', (engine) => {
  test('fails at the next start where the session wants that, and the next message works', async () => {
    const first = await rig({ engine, script: [[...text('half'), NEVER]] }, { onInterrupt: 'fail' })
    await first.send('hi')
    await first.until('TextDelta')
    const r = await first.restart({ script: [END] })
    expect(await r.ended(first.run)).toMatchObject({ type: 'RunFailed', code: 'run_interrupted' })
    expect((await r.events('TurnCompleted')).map(({ finishReason }) => finishReason)).toEqual(['error'])
    await r.send('again')
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
  })

  test('asks where the session wants that, through any number of restarts and polls, and goes on when a person says so', async () => {
    const first = await rig({ engine, script: [[...text('half'), NEVER]] }, { onInterrupt: 'ask' })
    await first.send('hi')
    await first.until('TextDelta')
    const second = await first.restart({ script: [END] })
    await second.until('ResumeRequested')
    const r = await second.restart({ script: [END] }, 3 * 86_400_000)
    for (let polls = 0; polls < 5; polls++) {
      r.clock.advance(1000)
      await settle()
    }
    expect([r.supervisor.active, (await r.events('RunClaimed')).length, (await r.events('ResumeRequested')).length]).toEqual([0, 1, 1])
    await r.execute({ type: 'ResumeRun', runId: first.run, action: 'resume' })
    expect(await r.ended(first.run)).toMatchObject({ type: 'RunCompleted', stopReason: 'completed' })
    expect(await r.events('AttemptSuperseded')).toHaveLength(1)
  })

  test('goes on after a restart that comes between the answer and its effect', async () => {
    const first = await rig({ engine, script: [[...text('half'), NEVER]] }, { onInterrupt: 'ask' })
    await first.send('hi')
    await first.until('TextDelta')
    const second = await first.restart({ script: [END] })
    await second.until('ResumeRequested')
    // Past the committer: as if the process had died right after its commit.
    const command = { type: 'ResumeRun', runId: first.run, action: 'resume' } as const
    await second.store.commit([{ kind: 'decide', stream: second.id, command, asker: TESTER, atMs: 1 }])
    const r = await second.restart({ script: [END] })
    expect(await r.ended(first.run)).toMatchObject({ stopReason: 'completed' })
    expect(await r.events('ResumeRequested')).toHaveLength(1)
  })
})

describe('a run cut off in a tool', () => {
  test.each(['ask', 'fail'] as const)('has the tool’s processes ended before anything else (%s)', async (onInterrupt) => {
    const first = await rig({ script: [asks('a', 'b')], tools: [hanging()] }, { onInterrupt })
    await first.send('hi')
    await first.until('ToolStarted')
    const r = await first.restart({ script: [END] })
    await r.until(onInterrupt === 'ask' ? 'ResumeRequested' : 'RunFailed')
    expect(r.killed[0]).toEqual(intent)
    expect(new Set(r.killed.map(({ groupId }) => groupId))).toEqual(new Set([7]))
  })

  test('ends with all calls answered when a person refuses', async () => {
    const first = await rig({ script: [asks('a', 'b')], tools: [hanging()] }, { onInterrupt: 'ask' })
    await first.send('hi')
    await first.until('ToolStarted')
    const r = await first.restart({ script: [END] })
    await r.until('ResumeRequested')
    await r.execute({ type: 'ResumeRun', runId: first.run, action: 'fail' })
    expect(await r.ended(first.run)).toMatchObject({ code: 'run_interrupted' })
    expect((await r.events('ToolCompleted')).map(({ toolCallId, result }) => `${toolCallId} ${result.split(':')[0]}`)).toEqual([
      'a TOOL_CALL_OUTCOME_UNKNOWN',
      'b TOOL_CALL_CANCELLED',
    ])
  })

  test('keeps its calls unanswered while it asks, and answers them by the usual rule when it goes on', async () => {
    const act = scriptedTool('act', { run: () => 'done' })
    const first = await rig({ script: [asks('a', 'b')], tools: [hanging()] }, { onInterrupt: 'ask' })
    await first.send('hi')
    await first.until('ToolStarted')
    const r = await first.restart({ script: [END], tools: [act] })
    await r.until('ResumeRequested')
    expect(await r.events('ToolCompleted')).toEqual([])
    await r.execute({ type: 'ResumeRun', runId: first.run, action: 'resume' })
    await r.ended(first.run)
    expect((await r.events('ToolCompleted')).map(({ toolCallId, result }) => `${toolCallId} ${result.split(':')[0]}`)).toEqual([
      'a TOOL_CALL_OUTCOME_UNKNOWN',
      'b done',
    ])
  })
})

test('a run that waits for an approval only goes on waiting, whatever the session wants', async () => {
  const act = scriptedTool('act', { run: () => 'done' })
  const first = await rig({ script: [asks('a')], tools: [act], policy: ASK_ALL }, { onInterrupt: 'fail' })
  await first.send('hi')
  await first.until('ApprovalRequested')
  const r = await first.restart({ script: [END] })
  await settle()
  await r.execute({ type: 'DecideCalls', runId: first.run, decisions: [{ toolCallId: 'a', action: 'accept' }] })
  expect(await r.ended(first.run)).toMatchObject({ stopReason: 'completed' })
})

test('a message that comes while a run asks waits, and is not an answer', async () => {
  const first = await rig({ script: [[...text('half'), NEVER]] }, { onInterrupt: 'ask' })
  await first.send('hi')
  await first.until('TextDelta')
  const r = await first.restart({ script: [END, END] })
  await r.until('ResumeRequested')
  await r.send('yes, go on', {}, { whenBusy: 'enqueue' })
  await settle()
  expect(await r.events('ResumeDecided')).toEqual([])
  await r.execute({ type: 'ResumeRun', runId: first.run, action: 'fail' })
  const runs = (await r.events('RunStarted')).map(({ runId }) => runId)
  expect(runs).toHaveLength(2)
  expect(await r.ended(runs[1])).toMatchObject({ stopReason: 'completed' })
})

test('a tool that does not listen loses its processes when its run is ended over its head', async () => {
  const r = await rig({ script: [asks('a')], tools: [hanging()] })
  await r.send('hi')
  await r.until('ToolStarted')
  await r.cancel()
  expect(r.killed).toEqual([])
  r.clock.advance(150)
  expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
  await settle()
  expect(r.killed).toEqual([intent])
})
