/** One run with everything in it, for tests that cut it at every point, and the promises that its log must keep however it was cut. */
import { expect } from 'vitest'
import type { Recorded, StreamEvent } from '../../src/domain/event.ts'
import type { ModelRequest } from '../../src/domain/model.ts'
import { isTerminal } from '../../src/domain/event.ts'
import { askTools, stop, text, thinking, toolCall, type Line } from '../../src/testing/scripted-model.ts'
import { scriptedTool, type ScriptedTool } from '../../src/testing/scripted-tool.ts'
import type { Rig, RigOptions } from './rig.ts'

/** What the three turns say. */
const TURNS: readonly (readonly Line[])[] = [
  [...thinking('let me see'), ...text('I look ', 'around.'), toolCall('l1', 'look'), toolCall('l2', 'look'), toolCall('a1', 'act'), askTools()],
  [...text('Now the ', 'dangerous part.'), toolCall('d1', 'danger'), askTools()],
  [...text('All ', 'done.'), stop()],
]
/** The calls of all turns, by the name of their tool. */
export const CALLS = { look: ['l1', 'l2'], act: ['a1'], danger: ['d1'] } as const

/** The tools of the scenario. They outlive processes, as the world does: their counts are what really happened. */
export interface World {
  readonly tools: readonly ScriptedTool[]
  runsOf(id: string): number
}

/** New tools: `look` may be repeated, `act` and `danger` may not. */
export function newWorld(): World {
  const tools = [scriptedTool('look', { readOnly: true, parallelSafe: true, repeatable: true }), scriptedTool('act'), scriptedTool('danger')]
  return { tools, runsOf: (id) => tools.reduce((sum, tool) => sum + (tool.runs.get(id) ?? 0), 0) }
}

/** The scenario over `world`: which turn it is can be told from the prompt, as a real model would. */
export function scenario(world: World): Pick<RigOptions, 'script' | 'tools' | 'policy'> {
  return {
    script: (request: ModelRequest) => TURNS[request.messages.filter(({ role }) => role === 'assistant').length] ?? [stop()],
    tools: world.tools,
    policy: { mode: 'custom', rules: { act: 'approve' }, default: 'ask' },
  }
}

/** Answers the run's question as a person would: as soon as it is asked, again if it is unknown whether it was heard. */
export async function answer(r: Rig): Promise<void> {
  const asked = await r.until('ApprovalRequested')
  const state = await r.store.state(r.id)
  if (state?.run === undefined) return
  const decisions = asked.toolCallIds.map((toolCallId) => ({ toolCallId, action: 'accept' }) as const)
  await r.execute({ type: 'DecideCalls', runId: state.run.id, decisions })
}

/** What must hold of a finished log, however often its run was cut. */
export function checkPromises(log: readonly Recorded[], world: World): void {
  expect(log.map(({ position }) => position)).toEqual(log.map((_, index) => index + 1))
  const events = log.map(({ event }) => event)
  expect(events.filter(isTerminal)).toMatchObject([{ type: 'RunCompleted', stopReason: 'completed', totalTurns: 3 }])
  expect(isTerminal(events.at(-1) as StreamEvent)).toBe(true)
  expect(assistantTexts(events)).toEqual(['I look around.', 'Now the dangerous part.', 'All done.'])
  expect(ofType(events, 'TurnCompleted').map(({ turn }) => turn)).toEqual([1, 2, 3])
  for (const id of [...CALLS.look, ...CALLS.act, ...CALLS.danger]) checkCall(events, id, world)
}

/** Each call has one result. What must not be repeated ran once, or it was said that nobody knows. */
function checkCall(events: readonly StreamEvent[], id: string, world: World): void {
  const results = ofType(events, 'ToolCompleted').filter(({ toolCallId }) => toolCallId === id)
  expect(results).toHaveLength(1)
  const unknown = results[0]?.result.startsWith('TOOL_CALL_OUTCOME_UNKNOWN') === true
  if ((CALLS.look as readonly string[]).includes(id)) {
    expect(results[0]?.result).toBe(`done ${id}`)
    return
  }
  expect(world.runsOf(id)).toBeLessThanOrEqual(1)
  if (unknown) expect(ofType(events, 'ToolStarted').filter(({ toolCallId }) => toolCallId === id)).toHaveLength(1)
  else expect([results[0]?.result, world.runsOf(id)]).toEqual([`done ${id}`, 1])
}

/** Calls that had a result in `log`, with how often they had run until then. */
export function finishedCalls(log: readonly Recorded[], world: World): ReadonlyMap<string, number> {
  const done = log.flatMap(({ event }) => (event.type === 'ToolCompleted' ? [event.toolCallId] : []))
  return new Map(done.map((id) => [id, world.runsOf(id)]))
}

function assistantTexts(events: readonly StreamEvent[]): readonly string[] {
  return ofType(events, 'MessageAdded').flatMap(({ message }) => {
    if (message.role !== 'assistant' || typeof message.content === 'string') return []
    return [message.content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')]
  })
}

function ofType<Type extends StreamEvent['type']>(events: readonly StreamEvent[], type: Type) {
  return events.filter((event): event is Extract<StreamEvent, { type: Type }> => event.type === type)
}
