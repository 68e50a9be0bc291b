import { expect, test } from 'vitest'
import type { StreamEvent } from '../../src/domain/event.ts'
import { runId, userId } from '../../src/domain/ids.ts'
import { lateWrites } from '../../torture/pause/processes.ts'

const RUN = runId('r1')
const startedBy = (driver: number): StreamEvent => ({ type: 'RunStarted', runId: RUN, fence: 1, driver, agent: 'a', options: {}, by: userId('alice') })
const claimedBy = (driver: number): StreamEvent => ({ type: 'RunClaimed', runId: RUN, fence: 2, driver })
const tokenOf = (driver: number): StreamEvent => ({ type: 'TextDelta', runId: RUN, delta: `${driver} ` })

test.each<[string, readonly StreamEvent[], readonly number[]]>([
  ['of the driver that holds the run are in place', [startedBy(1), tokenOf(1), tokenOf(1)], []],
  ['of the new driver are in place behind its claim', [startedBy(1), tokenOf(1), claimedBy(2), tokenOf(2)], []],
  ['of the old driver behind a claim are late', [startedBy(1), claimedBy(2), tokenOf(1), tokenOf(2), tokenOf(1)], [3, 5]],
  ['of a driver that came too early are found too', [startedBy(1), tokenOf(2), claimedBy(2)], [2]],
])('tokens %s', (_what, events, late) => {
  expect(lateWrites(events.map((event, index) => ({ position: index + 1, atMs: 0, event })))).toEqual(late)
})
