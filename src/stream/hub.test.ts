import { expect, test } from 'vitest'
import { sessionId, userId } from '../domain/ids.ts'
import { Hub } from './hub.ts'

const batch = (stream: string, owner: string, events = [{ type: 'Unknown', originalType: 'x' } as const]) => ({
  stream: sessionId(stream),
  owner: userId(owner),
  from: 1,
  to: 1,
  feed: 1,
  atMs: 0,
  events,
})

test('a batch reaches the readers of its stream and of its owner, and no others', () => {
  const hub = new Hub()
  const heard: string[] = []
  hub.subscribe(sessionId('s1'), () => heard.push('stream'))
  hub.subscribe(sessionId('s2'), () => heard.push('other stream'))
  hub.subscribeOwner(userId('ann'), () => heard.push('owner'))
  hub.subscribeOwner(userId('bob'), () => heard.push('other owner'))
  hub.publish(batch('s1', 'ann'))
  expect(heard).toEqual(['stream', 'owner'])
})

test('a reader that leaves while a batch is handed out disturbs nobody, and an empty batch is nothing', () => {
  const hub = new Hub()
  const heard: string[] = []
  const leave = hub.subscribe(sessionId('s1'), () => {
    heard.push('first')
    leave()
  })
  const stay = hub.subscribe(sessionId('s1'), () => heard.push('second'))
  hub.publish(batch('s1', 'ann', []))
  hub.publish(batch('s1', 'ann'))
  hub.publish(batch('s1', 'ann'))
  expect(heard).toEqual(['first', 'second', 'second'])
  leave()
  stay()
  expect(hub.listenerCount).toBe(0)
})

test('that a stream was erased is hinted to its readers alone, as something behind any position', () => {
  const hub = new Hub()
  const heard: [string, number, number][] = []
  hub.subscribe(sessionId('s1'), ({ from, events }) => heard.push(['stream', from, events.length]))
  hub.subscribe(sessionId('s2'), ({ from, events }) => heard.push(['other stream', from, events.length]))
  hub.subscribeOwner(userId('ann'), ({ from, events }) => heard.push(['owner', from, events.length]))
  hub.erased(sessionId('s1'), userId('ann'))
  expect(heard).toEqual([['stream', Number.MAX_SAFE_INTEGER, 0]])
})
