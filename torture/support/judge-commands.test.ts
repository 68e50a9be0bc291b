import { describe, expect, test } from 'vitest'
import { judgeCommands, type SentCommand } from './judge-commands.ts'
import { seenOf, type Seen } from './log.ts'

const at = (id: number, name: string, payload: object, runId: string | null = 'r1'): Seen =>
  seenOf(name, { id, run_id: runId, timestamp: '', event: { Any: payload as Record<string, unknown> } })
const added = (id: number, key: string, messageId = 'm1', role = 'user') =>
  at(id, 'message_added', { message_id: messageId, message: { role, content: [{ type: 'text', text: `do {"key":"${key}"}` }] } })
const decided = (id: number, action: string) => at(id, 'approval_decided', { tool_call_id: 'c1', action })
const ended = (id: number, how: object) => at(id, 'run_completed', how)
const renamed = (id: number) => at(id, 'session_updated', { title: 'new' }, null)

const MESSAGE = { session: 's1', kind: 'message', key: 'k1', messageId: 'm1' } as const
const DECISION = { session: 's1', kind: 'decision', call: 'c1', action: 'accept' } as const
const CANCEL = { session: 's1', kind: 'cancel', runId: 'r1', position: 5 } as const
const RENAME = { session: 's1', kind: 'rename', title: 'new' } as const
const ACK = { outcome: 'acknowledged' } as const
const UNKNOWN = { outcome: 'unknown' } as const
const REFUSED = { outcome: 'refused' } as const

test.each<[string, SentCommand, readonly Seen[]]>([
  ['an acknowledged message', { ...MESSAGE, ...ACK }, [added(2, 'k1')]],
  ['an acknowledged message beside another', { ...MESSAGE, ...ACK }, [added(2, 'k1'), added(3, 'k10', 'm2')]],
  ['a message that the model repeats', { ...MESSAGE, ...ACK }, [added(2, 'k1'), added(3, 'k1', 'm2', 'assistant')]],
  ['a message without an answer that took effect', { ...MESSAGE, ...UNKNOWN }, [added(2, 'k1')]],
  ['a message without an answer that did not', { ...MESSAGE, ...UNKNOWN }, []],
  ['a refused message', { ...MESSAGE, ...REFUSED }, []],
  ['a decision', { ...DECISION, ...ACK }, [decided(4, 'accept')]],
  ['a refused decision where another stands', { ...DECISION, ...REFUSED }, [decided(4, 'reject')]],
  ['a cancel', { ...CANCEL, ...ACK }, [ended(7, { stop_reason: 'cancelled' })]],
  ['a cancel that came too late', { ...CANCEL, ...ACK }, [ended(5, { stop_reason: 'completed' })]],
  ['a cancel without an answer', { ...CANCEL, ...UNKNOWN }, [ended(7, { stop_reason: 'completed' })]],
  ['a new title', { ...RENAME, ...ACK }, [renamed(3)]],
])('nothing is wrong with %s', (_, command, log) => {
  expect(judgeCommands([command], log)).toEqual([])
})

describe('what is wrong is said', () => {
  test.each<[string, SentCommand, readonly Seen[], string]>([
    ['an acknowledged message is missing', { ...MESSAGE, ...ACK }, [], 'P1: session s1, the message k1, acknowledged: it is not in the log'],
    [
      'a message took effect twice',
      { ...MESSAGE, ...UNKNOWN },
      [added(2, 'k1'), added(9, 'k1', 'm2')],
      'P7: session s1, the message k1, unknown: it took effect 2 times, at 2, 9',
    ],
    ['a refused message is there', { ...MESSAGE, ...REFUSED }, [added(2, 'k1')], 'P13: session s1, the message k1, refused: it is in the log at 2'],
    [
      'a message has another id',
      { ...MESSAGE, ...ACK },
      [added(2, 'k1', 'm9')],
      'P1: session s1, the message k1, acknowledged: the answer named the message m1, the log has m9',
    ],
    ['a decision is missing', { ...DECISION, ...ACK }, [], 'P1: session s1, the decision accept of c1, acknowledged: the log has no decision'],
    ['another decision stands', { ...DECISION, ...ACK }, [decided(4, 'reject')], 'P1: session s1, the decision accept of c1, acknowledged: the log has reject'],
    [
      'two decisions stand',
      { ...DECISION, ...UNKNOWN },
      [decided(4, 'accept'), decided(6, 'accept')],
      'P7: session s1, the decision accept of c1, unknown: the call was decided 2 times',
    ],
    [
      'a cancel was lost',
      { ...CANCEL, ...ACK },
      [ended(7, { stop_reason: 'completed' })],
      'P8: session s1, the cancel of run r1, acknowledged: the run ended at 7 as completed',
    ],
    ['a cancelled run goes on', { ...CANCEL, ...ACK }, [], 'P8: session s1, the cancel of run r1, acknowledged: the run has not ended'],
    ['a title was set twice', { ...RENAME, ...ACK }, [renamed(3), renamed(4)], 'P7: session s1, the title new, acknowledged: it took effect 2 times, at 3, 4'],
  ])('when %s', (_, command, log, complaint) => {
    expect(judgeCommands([command], log)).toEqual([complaint])
  })
})
