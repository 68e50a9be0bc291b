/** Messages that arrive while an own agent's run is under way: taken in where the function asks for them, the same in each replay. */
import type { ArrivedMessage } from './define.ts'
import type { Invocation } from './invocation.ts'
import type { WaitingMessage } from './journal.ts'
import { textOf } from '../domain/message.ts'

/** Takes in what waits now, or answers what was taken in here before. */
export async function takeMessages(invocation: Invocation): Promise<readonly ArrivedMessage[]> {
  const { journal } = invocation.frame
  const { runId } = journal
  const key = invocation.next('messages')
  const known = journal.steps.get(key)
  if (known !== undefined) return (known.result as readonly string[]).flatMap((id) => arrived(journal.taken.get(id)))
  return invocation.inbox.hold(async () => {
    const waiting = journal.waiting
    await invocation.record(...waiting.map(({ messageId, delivery, message }) => ({ type: 'MessageAdded', messageId, runId, message, delivery }) as const), {
      type: 'StepCompleted',
      runId,
      key,
      result: waiting.map(({ messageId }) => messageId),
    })
    return waiting.flatMap(arrived)
  })
}

function arrived(message: WaitingMessage | undefined): readonly ArrivedMessage[] {
  return message === undefined ? [] : [{ text: textOf(message.message), message: message.message, delivery: message.delivery }]
}
