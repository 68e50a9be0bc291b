/** Several processes on one log: each run has one driver, whoever is paused, wakes up, or says nothing any more (P4). */
import { describe, expect, test } from 'vitest'
import { settle } from '../../src/testing/run-kit.ts'
import { stop, text } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ASK_ALL, asks, END, ENGINES, gate, NEVER, rig, type Rig } from './rig.ts'

/** Lets `r` live for `seconds` while all others stand still. */
async function live(r: Rig, seconds: number): Promise<void> {
  for (let left = seconds; left > 0; left--) {
    r.clock.advance(1000)
    await settle()
  }
}

describe.each(ENGINES)('over %s, two processes', (engine) => {
  test('leave each other’s runs alone as long as both live', async () => {
    const one = await rig({ engine, shared: true, script: [[...text('half'), NEVER]] })
    await one.send('hi')
    await one.until('TextDelta')
    const two = await one.join()
    for (let seconds = 0; seconds < 30; seconds++) {
      await live(one, 1)
      await live(two, 1)
    }
    expect([await two.events('RunClaimed'), one.supervisor.active, two.supervisor.active]).toEqual([[], 1, 0])
  })

  test('share a run’s life: who was paused past its time loses the run, and what it writes when it wakes up is refused', async () => {
    const paused = gate()
    const one = await rig({ engine, shared: true, script: [[...text('half'), paused.passed, ...text('late'), stop()]] })
    await one.send('hi')
    await one.until('TextDelta')
    const two = await one.join({ script: [[...text('whole'), stop()]] })
    await live(two, 9)
    expect(await two.events('RunClaimed')).toEqual([])
    await live(two, 2)
    expect(await two.ended(one.run)).toMatchObject({ stopReason: 'completed' })
    const before = await two.log()
    paused.open()
    await settle()
    await live(one, 3)
    expect(await two.log()).toEqual(before)
    expect(before.filter(({ event }) => event.type === 'TextDelta').map(({ event }) => 'delta' in event && event.delta)).not.toContain('late')
    expect([one.supervisor.active, two.supervisor.active]).toEqual([0, 0])
  })

  test('end what one that wakes up has begun between the look of the other and its claim', async () => {
    const paused = gate()
    const intent = { groupId: 7, startTicks: 1 }
    const act = scriptedTool('act', { intent, run: () => NEVER.then(() => '') })
    const one = await rig({ engine, shared: true, script: [[...text('half'), paused.passed, ...asks('a')]], tools: [act] })
    await one.send('hi')
    await one.until('TextDelta')
    const two = await one.join({
      script: [END],
      async fateOf(_commit, writes) {
        const claims = writes.some((write) => write.kind === 'decide' && write.command.type === 'ClaimRun')
        if (!claims) return 'pass' as const
        paused.open()
        await one.until('ToolStarted')
        return 'pass' as const
      },
    })
    await live(two, 11)
    expect(await two.ended(one.run)).toMatchObject({ stopReason: 'completed' })
    expect((await two.events('ToolCompleted')).map(({ result }) => result)).toMatchObject([expect.stringContaining('TOOL_CALL_OUTCOME_UNKNOWN')])
    expect(two.killed).toEqual([intent])
  })

  test('end it also where the claim itself ends the run, and the calls with it', async () => {
    const paused = gate()
    const intent = { groupId: 7, startTicks: 1 }
    const act = scriptedTool('act', { intent, run: () => NEVER.then(() => '') })
    const one = await rig({ engine, shared: true, script: [[...text('half'), paused.passed, ...asks('a')]], tools: [act] }, { onInterrupt: 'fail' })
    await one.send('hi')
    await one.until('TextDelta')
    const two = await one.join({
      script: [END],
      async fateOf(_commit, writes) {
        const claims = writes.some((write) => write.kind === 'decide' && write.command.type === 'ClaimRun')
        if (!claims) return 'pass' as const
        paused.open()
        await one.until('ToolStarted')
        return 'pass' as const
      },
    })
    await live(two, 11)
    expect(await two.ended(one.run)).toMatchObject({ code: 'run_interrupted' })
    expect(two.killed).toEqual([intent])
  })

  test('end what one that sleeps has left running, when a cancel is forced over its head', async () => {
    const intent = { groupId: 7, startTicks: 1 }
    const act = scriptedTool('act', { intent, run: () => NEVER.then(() => '') })
    const one = await rig({ engine, shared: true, script: [asks('a'), asks('a')], tools: [act] })
    await one.send('hi')
    await one.until('ToolStarted')
    const two = await one.join()
    await two.execute({ type: 'CancelRun', runId: one.run })
    two.clock.advance(150)
    await settle()
    expect(await two.ended(one.run)).toMatchObject({ stopReason: 'cancelled' })
    expect(two.killed).toEqual([intent])
  })

  test('do not wait for the time of one that has stopped in good order', async () => {
    const one = await rig({ engine, shared: true, script: [asks('a')], policy: ASK_ALL, tools: [scriptedTool('act', { run: () => 'done' })] })
    await one.send('hi')
    await one.until('ApprovalRequested')
    const two = await one.join({ script: [END] })
    const stopped = one.supervisor.stop(1000)
    await settle()
    one.clock.advance(2000)
    await stopped
    await live(two, 1)
    expect((await two.events('RunClaimed')).map(({ driver }) => driver)).toEqual([two.store.driver])
    await two.execute({ type: 'DecideCalls', runId: one.run, decisions: [{ toolCallId: 'a', action: 'accept' }] })
    expect(await two.ended(one.run)).toMatchObject({ stopReason: 'completed' })
  })

  test('take each other’s answers: who drives finds at its next poll what the other one has written', async () => {
    const one = await rig({ engine, shared: true, script: [asks('a'), END], policy: ASK_ALL, tools: [scriptedTool('act', { run: () => 'done' })] })
    await one.send('hi')
    await one.until('ApprovalRequested')
    const two = await one.join()
    await two.execute({ type: 'DecideCalls', runId: one.run, decisions: [{ toolCallId: 'a', action: 'accept' }] })
    await live(one, 1)
    expect(await one.ended(one.run)).toMatchObject({ stopReason: 'completed' })
    expect(two.supervisor.active).toBe(0)
  })

  test('cancel each other’s runs in time, and what waits behind goes on where its driver is', async () => {
    const one = await rig({ engine, shared: true, script: [[...text('half'), NEVER], END] })
    await one.send('hi')
    await one.until('TextDelta')
    await one.followUp('and then')
    const two = await one.join()
    await two.execute({ type: 'CancelRun', runId: one.run })
    two.clock.advance(150)
    await settle()
    expect(await two.ended(one.run)).toMatchObject({ stopReason: 'cancelled' })
    await live(one, 3)
    const [, next] = await one.events('RunStarted')
    expect(await one.ended(next?.runId)).toMatchObject({ stopReason: 'completed' })
    expect([one.supervisor.active, two.supervisor.active]).toEqual([0, 0])
  })
})
