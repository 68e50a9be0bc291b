/** The pages in `docs/` against the code that they speak of. What a page repeats, and nobody compiles, goes stale without this. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { ATTEMPTS_MAX, BACKOFF_MS, MAX_TURNS_DEFAULT, PARALLEL_CALLS_MAX, PROGRESS_EVENTS_MAX, RETRY_AFTER_MS_MAX } from '../src/agent/parts.ts'
import { ConfigSchema } from '../src/config-schema.ts'
import { CANCEL_CONFIRM_MS } from '../src/domain/decide-cancel.ts'
import { TAKEOVERS_MAX } from '../src/domain/decide-run.ts'
import { ERROR_CODES, type ErrorCode } from '../src/domain/errors.ts'
import { QUEUE_MAX } from '../src/domain/session.ts'
import { TOOL_OUTPUT_BYTES_MAX } from '../src/domain/tool.ts'
import { JSON_DEPTH_MAX } from '../src/http/body.ts'
import { STATUS } from '../src/http/errors.ts'
import { CONNECTIONS_MAX, HEADER_BYTES_MAX } from '../src/http/listener.ts'
import { PING_MS } from '../src/http/upgrade.ts'
import { IDEMPOTENCY_KEEP_MS } from '../src/log/store.ts'
import { ANSWER_BYTES_MAX, ANSWER_CHARS_MAX, MODEL_IDLE_MS } from '../src/model/bounds.ts'
import { LIST_LIMIT_MAX } from '../src/projection/reads.ts'
import { KEEP_ALIVE_MS, READER_BUFFER_BYTES_MAX } from '../src/stream/reading.ts'
import { BASH_MS } from '../src/tool/bash.ts'
import { OUTPUT_FILE_BYTES_MAX } from '../src/tool/output.ts'
import { PARTS } from '../torture/parts.ts'
import { ADDITIONAL_EVENTS, CONTRACT_EVENTS } from '../src/wire/v1/events.ts'
import { CONTEXT, DECISIONS_MAX, SYSTEM_PROMPT_CHARS_MAX, TITLE_CHARS_MAX } from '../src/wire/v1/schemas.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const page = (name: string) => readFileSync(join(root, name), 'utf8')
const protocol = page('docs/protocol.md')
/** Cells of the table rows of a page whose first cell holds a name in code marks; indented tables are not meant. */
const rowsOf = (text: string) =>
  [...text.matchAll(/^\|(.+)\|$/gm)].map(([, row = '']) => row.split(/(?<!\\)\|/).map((cell) => cell.trim())).filter(([first = '']) => first.startsWith('`'))
const namesIn = (cell: string) => [...cell.matchAll(/`([\w./@-]+)`/g)].map(([, name = '']) => name)
/** `16 KiB` and `2,097,152` as numbers. */
const numberIn = (cell: string) => {
  const [, digits = '', unit] = /^([\d,]+)(?: (KiB|MiB))?/.exec(cell) ?? []
  return Number(digits.replaceAll(',', '')) * (unit === 'KiB' ? 1024 : unit === 'MiB' ? 1024 * 1024 : 1)
}

describe('the protocol', () => {
  const clauses = [...protocol.matchAll(/^- \*\*([A-Z])(\d+)\.\*\* /gm)].map(([, group = '', number = '']) => ({ group, number: Number(number) }))
  const errors = rowsOf(protocol).filter(([, status = '']) => /^[45]\d\d$/.test(status))

  test('numbers its clauses upwards in each group, each once', () => {
    const groups = Map.groupBy(clauses, ({ group }) => group)
    expect([...groups.keys()].toSorted().join('')).toBe('ACEFGIKLMQRSW')
    for (const [group, members] of groups) {
      const numbers = members.map(({ number }) => number)
      expect({ group, numbers }).toEqual({ group, numbers: [...new Set(numbers)].toSorted((a, b) => a - b) })
    }
  })

  test('has every clause that is cited', () => {
    const known = new Set(clauses.map(({ group, number }) => `${group}${number}`))
    const files = globSync(['src/**/*.ts', 'test/**/*.ts', 'docs/**/*.md', 'examples/**/*'], { cwd: root }).filter((name) => /\.(ts|md)$/.test(name))
    const cited = files.flatMap((name) => [...page(name).matchAll(/\bprotocol ([A-Z]\d+)\b/g)].map(([, clause = '']) => clause))
    const within = errors.flatMap(([, , , when = '']) => [...when.matchAll(/\b[A-Z]\d+\b/g)].map(([clause]) => clause))
    expect(within.length).toBeGreaterThan(20)
    expect([...cited, ...within].filter((clause) => !known.has(clause))).toEqual([])
  })

  test('gives each error its status and whether the same request may succeed later', () => {
    const told = errors.map(([code = '', status, retry]) => [namesIn(code)[0], Number(status), retry === 'yes'])
    expect(told).toEqual(told.map(([code]) => [code, STATUS[code as ErrorCode], ERROR_CODES[code as ErrorCode].retry]))
  })

  test('names every code once as an answer, or tells where else it appears', () => {
    const answered = errors.map(([code = '']) => namesIn(code)[0])
    expect(answered).toEqual([...new Set(answered)])
    const elsewhere = (Object.keys(ERROR_CODES) as ErrorCode[]).filter((code) => !answered.includes(code))
    expect(elsewhere.toSorted()).toEqual([
      'agent_changed',
      'agent_failed',
      'config_invalid',
      'crash_loop',
      'model_auth',
      'model_context_overflow',
      'model_protocol',
      'model_rate_limited',
      'model_refused',
      'model_unavailable',
      'run_interrupted',
      'step_interrupted',
      'store_damaged',
      'store_locked',
      'store_newer',
    ])
    expect(elsewhere.filter((code) => !protocol.includes(`\`${code}\``))).toEqual([])
  })

  test('lists every event', () => {
    const tables = [...protocol.matchAll(/^\| event \|.*\n(?:\|.*\n)+/gm)].map(([table]) => rowsOf(table).flatMap(([names = '']) => namesIn(names)))
    expect(tables.map((names) => names.toSorted())).toEqual([CONTRACT_EVENTS, ADDITIONAL_EVENTS].map((events) => Object.keys(events).toSorted()))
  })

  test.each(
    Object.entries({
      ANSWER_BYTES_MAX,
      ANSWER_CHARS_MAX,
      ATTEMPTS_MAX,
      BACKOFF_MS,
      BASH_MS,
      CANCEL_CONFIRM_MS,
      CONNECTIONS_MAX,
      CONTEXT: CONTEXT.items,
      DECISIONS_MAX,
      HEADER_BYTES_MAX,
      IDEMPOTENCY_KEEP_MS,
      JSON_DEPTH_MAX,
      KEEP_ALIVE_MS,
      MAX_TURNS_DEFAULT,
      OUTPUT_FILE_BYTES_MAX,
      PARALLEL_CALLS_MAX,
      PING_MS,
      PROGRESS_EVENTS_MAX,
      QUEUE_MAX,
      READER_BUFFER_BYTES_MAX,
      RETRY_AFTER_MS_MAX,
      SYSTEM_PROMPT_CHARS_MAX,
      TAKEOVERS_MAX,
      TITLE_CHARS_MAX,
      TOOL_OUTPUT_BYTES_MAX,
    }),
  )('gives %s its value', (name, value) => {
    const [, told = ''] = rowsOf(protocol).find(([names = '']) => namesIn(names)[0] === name) ?? []
    expect(numberIn(told)).toBe(value)
  })

  test('gives the longest page of a list', () => {
    const [, told = ''] = rowsOf(protocol).find(([names = '']) => namesIn(names).includes('LIST_LIMIT_MAX')) ?? []
    expect(told).toContain(`and ${LIST_LIMIT_MAX.toLocaleString('en-US')} rows`)
  })

  test('gives the defaults of what can be configured', () => {
    const { limits, shutdownMs } = ConfigSchema.parse({})
    const told = (name: string) => numberIn(rowsOf(protocol).find(([names = '']) => namesIn(names)[0] === name)?.[1] ?? '')
    expect(Object.fromEntries(Object.keys(limits).map((name) => [name, told(`limits.${name}`)]))).toEqual(limits)
    expect(limits.modelIdleMs).toBe(MODEL_IDLE_MS)
    expect(told('shutdownMs')).toBe(shutdownMs)
  })
})

interface Manifest {
  readonly version: string
  readonly license: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

test('each dependency stands in its page once, with its version, its licence and a reason', () => {
  const { dependencies, devDependencies } = JSON.parse(page('package.json')) as Manifest
  const wanted = Object.entries({ ...dependencies, ...devDependencies }).map(([name, version]) => {
    const { license } = JSON.parse(page(`node_modules/${name}/package.json`)) as Manifest
    return [name, version, license].join(' ')
  })
  const rows = rowsOf(page('docs/dependencies.md'))
  expect(rows.map(([name = '', version, licence]) => [...namesIn(name), version, licence].join(' ')).toSorted()).toEqual(wanted.toSorted())
  expect(rows.filter(([, , , why = '']) => why.length < 10)).toEqual([])
})

describe('the page of guarantees', () => {
  const guarantees = page('docs/guarantees.md')

  test('has each promise once, in order, with its limits and its proof', () => {
    const promises = guarantees.split(/^(?=\*\*P\d)/m).slice(1)
    expect(promises.map((text) => /^\*\*P(\d+)\./.exec(text)?.[1])).toEqual(Array.from({ length: 14 }, (_, index) => String(index + 1)))
    expect(promises.filter((text) => !text.includes('- Proof: '))).toEqual([])
  })

  test('names tests and parts that are there', () => {
    const proofs = [...guarantees.matchAll(/^- Proof: .*(?:\n {2}.*)*/gm)].map(([proof]) => proof)
    const files = proofs.flatMap((proof) => namesIn(proof).filter((name) => name.includes('/')))
    const parts = proofs.flatMap((proof) => [...(/torture ((?:`\w+`,?\s*)+)/g.exec(proof)?.slice(1) ?? [])].flatMap(namesIn))
    expect(files.length).toBeGreaterThan(20)
    expect(files.filter((name) => !existsSync(join(root, name)))).toEqual([])
    expect(new Set(parts)).toEqual(new Set(Object.keys(PARTS).filter((name) => name !== 'plants')))
  })

  test('and the page about testing lists each part of the torture', () => {
    const listed = rowsOf(page('docs/testing.md').split('## The simulation')[0] ?? '').map(([name = '']) => namesIn(name)[0])
    expect(new Set(listed)).toEqual(new Set(Object.keys(PARTS)))
  })
})

test('links between pages lead somewhere', () => {
  const pages = ['README.md', ...globSync(['docs/**/*.md', 'examples/**/*.md'], { cwd: root })]
  const links = pages.flatMap((name) =>
    [...page(name).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({ name, target })).filter(({ target }) => !/^(https?:|#)/.test(target)),
  )
  expect(links.length).toBeGreaterThan(0)
  expect(links.filter(({ name, target }) => !existsSync(join(root, dirname(name), target.replace(/#.*$/, ''))))).toEqual([])
})

describe('the configuration page', () => {
  const rows = rowsOf(page('docs/configuration.md'))

  test('has a row for every key, and for no other', () => {
    const paths = Object.entries(ConfigSchema.shape).flatMap(([key, schema]) => {
      const inner = key === 'cors' ? undefined : shapeOf(schema)
      return inner === undefined ? [key] : Object.keys(inner).map((name) => `${key}.${name}`)
    })
    expect(rows.flatMap(([keys = '']) => namesIn(keys)).toSorted()).toEqual(paths.toSorted())
  })

  test('names every variable that is read', () => {
    const read = [...page('src/config.ts').matchAll(/'(CONVOKE_[A-Z_]+|[A-Z_]+_API_KEY)'/g)].map(([, name = '']) => name)
    const shown = page('docs/configuration.md')
    expect(new Set(read).size).toBeGreaterThan(8)
    expect([...new Set(read)].filter((name) => !shown.includes(name))).toEqual([])
  })
})

/** The keys of an object schema behind its defaults, if it is one. */
function shapeOf(schema: unknown): object | undefined {
  let inner = schema as { readonly shape?: object; readonly def?: { readonly innerType?: unknown } } | undefined
  while (inner !== undefined && inner.shape === undefined) inner = inner.def?.innerType as typeof inner
  return inner?.shape
}
