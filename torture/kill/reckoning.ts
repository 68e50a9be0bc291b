/** After the last kill: every log is read, and everything that was seen and answered is compared with it. */
import { createClient, type Client } from '../../src/client/index.ts'
import type { FeedReader } from '../support/feed-reader.ts'
import { judgeCommands, type SentCommand } from '../support/judge-commands.ts'
import { judgeReader, type Sight } from '../support/judge-reader.ts'
import { judgeLedger, readLedger, type ToolRules } from '../support/ledger.ts'
import { judgeLog, type Call, type Seen } from '../support/log.ts'
import type { ReaderWorld } from '../support/readers.ts'
import { readLog } from '../support/read-log.ts'
import type { ScriptedProvider } from '../support/scripted-provider.ts'
import type { SessionStory } from './session.ts'

/** What there is to compare. */
export interface Evidence {
  readonly world: ReaderWorld & { readonly ledger: string }
  readonly scenarios: readonly SessionStory[]
  readonly feeds: readonly FeedReader[]
  readonly sent: readonly SentCommand[]
  readonly provider: ScriptedProvider
  readonly rules: ToolRules
}

/** What was counted, and what is wrong. */
export interface Reckoning {
  readonly sessions: number
  readonly runs: number
  readonly takeovers: number
  readonly crashLoops: number
  readonly superseded: number
  readonly events: number
  readonly calls: number
  /** Calls of which nobody knows whether they took effect. */
  readonly unknown: number
  readonly found: readonly string[]
}

/** Compares. */
export async function reckon(evidence: Evidence): Promise<Reckoning> {
  const { world, scenarios, feeds, sent, provider, rules } = evidence
  const client = createClient({ url: world.url })
  const listed = await allSessions(client)
  const calls = new Map<string, Call>()
  const sights: readonly Sight[] = [...scenarios.flatMap(({ readers }) => readers), ...feeds.flatMap((feed) => feed.sights())]
  const found: string[] = [...judgeTitles(listed, scenarios)]
  const sums = { runs: 0, takeovers: 0, crashLoops: 0, superseded: 0, events: 0, unknown: 0 }
  for (const { id } of listed) {
    const log = await readLog(world, id)
    const judged = judgeLog(id, log)
    for (const [call, facts] of judged.calls) {
      if (calls.has(call)) found.push(`P3: the call ${call} is in two sessions`)
      calls.set(call, facts)
    }
    found.push(...judged.found)
    for (const sight of sights) if (sight.session === id) found.push(...judgeReader(sight, log))
    found.push(
      ...judgeCommands(
        sent.filter(({ session }) => session === id),
        log,
      ),
    )
    found.push(...judgeResults(id, log, provider.results))
    const scenario = scenarios.find((candidate) => candidate.id === id)
    if (scenario !== undefined) found.push(...(await judgeTranscripts(client, scenario)))
    sums.runs += judged.runs
    sums.takeovers += judged.takeovers
    sums.crashLoops += judged.crashLoops
    sums.superseded += judged.superseded
    sums.events += log.length
    sums.unknown += log.filter(({ payload }) => String(payload['result']).startsWith('TOOL_CALL_OUTCOME_UNKNOWN')).length
  }
  for (const { session } of sights) if (!listed.some(({ id }) => id === session)) found.push(`P2: a reader saw the session ${session}, which is not there`)
  found.push(...judgeLedger(readLedger(world.ledger), calls, rules))
  return { ...sums, sessions: listed.length, calls: calls.size, found }
}

/** All sessions, page by page. */
export async function allSessions(client: Client): Promise<readonly { readonly id: string; readonly title: string; readonly state: string }[]> {
  const found: { id: string; title: string; state: string }[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = await client.listSessions({ limit: 100, status: 'ALL', ...(cursor === '' ? {} : { cursor }) })
    found.push(...page.sessions.map(({ id, title, run_status }) => ({ id, title, state: run_status.state })))
    cursor = page.next_cursor
  }
  return found
}

function judgeTitles(listed: readonly { readonly id: string; readonly title: string }[], scenarios: readonly SessionStory[]): readonly string[] {
  const missing = scenarios.filter(({ id }) => !listed.some((session) => session.id === id))
  const titles = new Map<string, number>()
  for (const { title } of listed) titles.set(title, (titles.get(title) ?? 0) + 1)
  const repeated = [...titles].filter(([, count]) => count > 1)
  return [
    ...missing.map(({ id, title }) => `P1: the session ${id} (${title}) was acknowledged and is not there`),
    ...repeated.map(([title, count]) => `P7: ${count} sessions were made as ${title}`),
  ]
}

/** What the model was told of each call is what the log says. */
function judgeResults(session: string, log: readonly Seen[], results: ReadonlyMap<string, string>): readonly string[] {
  return log.flatMap(({ name, payload, position }) => {
    if (name !== 'tool_execution_completed' && name !== 'tool_rejected') return []
    const told = results.get(String(payload['tool_call_id']))
    const said = String(payload['result'] ?? payload['reason'])
    if (told === undefined || told === said) return []
    return [`P5: session ${session}, position ${position}: the log says ${JSON.stringify(said)}, the model was told ${JSON.stringify(told)}`]
  })
}

/** A transcript only grows at its end: each that was shown is the beginning of the last one. */
async function judgeTranscripts(client: Client, { id, transcripts }: SessionStory): Promise<readonly string[]> {
  const whole: string[] = []
  for (let more = true; more;) {
    const { messages } = await client.listMessages(id, { limit: 100, offset: whole.length })
    whole.push(...messages.map((message) => JSON.stringify(message)))
    more = messages.length === 100
  }
  return transcripts.flatMap((shown, page) => {
    const at = shown.findIndex((message, index) => message !== whole[index])
    return at === -1 ? [] : [`P2: session ${id}: the transcript that was read as number ${page + 1} showed at ${at + 1} ${shown[at]}, it has ${whole[at]}`]
  })
}
