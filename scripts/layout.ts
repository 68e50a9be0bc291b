/**
 * The house rules that the compiler cannot see: which folder may lean on which, and where the outside world is touched.
 *
 * Owns: the import table, the ban on Node in the pure folders, and the list of files that implement the ports.
 * Not here: import order, style and type-aware rules (the linter's).
 *
 * H1. A folder imports only what its row of `MAY_IMPORT` names. Type imports count.
 * H2. Siblings do not meet: no dialect imports a dialect, no engine an engine.
 * H3. There are no import cycles, type imports included.
 * H4. The pure folders use no Node and only the packages named for them.
 * H5. Time, randomness, network, processes and files are touched only by the files of `PORTS`. Tests are exempt from H4 and H5.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join, posix, relative, sep } from 'node:path'
import { parseSync } from 'oxc-parser'

const EVERYTHING = '*'

/** H1. A room is a folder below `src/` or a file in it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  log: ['domain'],
  projection: ['domain', 'log'],
  storage: ['domain', 'log', 'projection'],
  stream: ['domain', 'log'],
  command: ['domain', 'log', 'projection', 'stream'],
  runtime: ['domain', 'log', 'projection', 'stream', 'command'],
  model: ['domain'],
  tool: ['domain'],
  agent: ['domain', 'projection', 'runtime', 'model', 'tool'],
  access: ['domain', 'log', 'command'],
  wire: ['domain'],
  client: ['wire'],
  plugin: ['domain', 'access'],
  delivery: ['domain', 'log', 'stream', 'command'],
  fleet: ['domain', 'log', 'projection', 'stream', 'command', 'client'],
  http: ['domain', 'access', 'stream', 'telemetry'],
  dialect: ['domain', 'projection', 'stream', 'command', 'http', 'wire', 'access', 'fleet'],
  telemetry: ['domain'],
  cli: ['config', 'server', 'client', 'storage', 'system', 'version'],
  system: ['domain'],
  testing: ['domain', 'log', 'projection', 'runtime', 'system'],
  config: ['domain', 'system'],
  server: [EVERYTHING],
  version: [],
  index: ['server', 'domain', 'tool', 'runtime'],
}

/** Files that are a part of another file's room: split off for length. */
const ROOM_OF_FILE: Readonly<Record<string, string>> = {
  'assembly.ts': 'server',
  'offline.ts': 'server',
  'modules.ts': 'server',
  'listeners.ts': 'server',
  'server-events.ts': 'server',
  'config-schema.ts': 'config',
}

/** What tests may import besides their row: the kits, and the real ports. Nothing that ships imports the kits. */
const FOR_TESTS = ['testing', 'system']

/** H4. The pure folders, and the packages that each may use. */
const PURE: Readonly<Record<string, readonly string[]>> = {
  domain: ['zod'],
  log: [],
  projection: [],
  wire: ['zod', '@asteasolutions/zod-to-openapi'],
  client: ['zod', 'eventsource-parser'],
}

/** H5. What reaches outside, and the files (or folders, with a slash) that are made for it. */
const PORTS = {
  clock: ['system/'],
  random: ['system/', 'client/'],
  timers: ['system/', 'client/', 'http/listener.ts', 'http/sink.ts', 'tool/bash.ts', 'testing/'],
  network: ['client/', 'model/'],
  processes: ['system/', 'tool/'],
  files: ['system/', 'storage/sqlite/', 'tool/', 'cli/', 'config.ts', 'version.ts'],
} satisfies Record<string, readonly string[]>

type Port = keyof typeof PORTS

const PORT_OF_MODULE: Readonly<Record<string, Port>> = {
  fs: 'files',
  'fs/promises': 'files',
  child_process: 'processes',
  cluster: 'processes',
  timers: 'timers',
  'timers/promises': 'timers',
}
/** Called by name, also when imported under that name. */
const PORT_OF_CALL: Readonly<Record<string, Port>> = {
  Date: 'clock',
  'Date.now': 'clock',
  'performance.now': 'clock',
  'Math.random': 'random',
  randomUUID: 'random',
  randomUUIDv7: 'random',
  setTimeout: 'timers',
  setInterval: 'timers',
  setImmediate: 'timers',
  'AbortSignal.timeout': 'timers',
  fetch: 'network',
}
const NODE_GLOBALS = new Set(['process', 'Buffer', 'require', '__dirname', '__filename'])

interface SourceFile {
  /** Relative to the source folder, with slashes. */
  readonly path: string
  readonly room: string
  readonly isTest: boolean
  readonly imports: readonly string[]
  /** Dotted names of what is called, constructed without arguments, or passed on. */
  readonly uses: readonly string[]
}

/** Every breach of the rules below `sourceFolder`, as sorted sentences; none is the good answer. */
export function checkLayout(sourceFolder: string): string[] {
  const files = readdirSync(sourceFolder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readSource(sourceFolder, join(sourceFolder, name)))
  const breaches = files.flatMap((file) => [...tableBreaches(file), ...(file.isTest ? [] : [...pureBreaches(file), ...portBreaches(file)])])
  return [...new Set([...breaches, ...cycles(files)])].toSorted()
}

function readSource(sourceFolder: string, absolute: string): SourceFile {
  const path = relative(sourceFolder, absolute).split(sep).join('/')
  const { program, errors } = parseSync(path, readFileSync(absolute, 'utf8'))
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`)
  const imports: string[] = []
  const uses: string[] = []
  walk(program, (node) => {
    const specifier = specifierOf(node)
    if (specifier !== undefined) imports.push(specifier)
    const use = useOf(node)
    if (use !== undefined) uses.push(use)
  })
  return { path, room: roomOf(path), isTest: path.endsWith('.test.ts'), imports, uses }
}

type Node = Readonly<Record<string, unknown>> & { readonly type: string }

function walk(value: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(value)) for (const item of value) walk(item, visit)
  else if (typeof value === 'object' && value !== null) {
    if (isNode(value)) visit(value)
    for (const child of Object.values(value)) walk(child, visit)
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

/** The specifier of `import`, `export … from`, `import()` and `import().Type`. */
function specifierOf(node: Node): string | undefined {
  if (!/^(Import|ExportAll|ExportNamed)Declaration$|^ImportExpression$|^TSImportType$/.test(node.type)) return undefined
  const source = node['source']
  return isNode(source) && typeof source['value'] === 'string' ? source['value'] : undefined
}

function useOf(node: Node): string | undefined {
  // `Date.now` counts without a call too: `const nowMs = Date.now` reaches outside as well.
  if (node.type === 'MemberExpression') return dottedName(node)
  if (node.type === 'CallExpression') return dottedName(node['callee'])
  if (node.type === 'NewExpression' && (node['arguments'] as unknown[]).length === 0) return dottedName(node['callee'])
  return undefined
}

function dottedName(node: unknown): string | undefined {
  if (!isNode(node)) return undefined
  if (node.type === 'Identifier') return node['name'] as string
  if (node.type !== 'MemberExpression' || node['computed'] === true) return undefined
  const object = dottedName(node['object'])
  return object === undefined ? undefined : `${object}.${dottedName(node['property'])}`
}

function roomOf(path: string): string {
  const [first = ''] = path.split('/')
  return ROOM_OF_FILE[first] ?? first.replace(/(\.test)?\.ts$/, '')
}

/** H1 and H2. */
function tableBreaches(file: SourceFile): string[] {
  const row = MAY_IMPORT[file.room]
  if (row === undefined) return [`${file.path}: ${file.room} has no row in the import table`]
  return localImports(file).flatMap((target) => {
    const room = roomOf(target)
    if (room === file.room) return areSiblings(file.path, target) ? [`${file.path}: siblings do not meet: ${target}`] : []
    if (FOR_TESTS.includes(room) && file.isTest) return []
    if (room !== 'testing' && (row.includes(EVERYTHING) || row.includes(room))) return []
    return [`${file.path}: ${file.room} may not import ${room}: ${target}`]
  })
}

function areSiblings(from: string, to: string): boolean {
  const [room, own, ...rest] = from.split('/')
  const [, other, ...otherRest] = to.split('/')
  return (room === 'dialect' || room === 'storage') && rest.length > 0 && otherRest.length > 0 && own !== other
}

function localImports(file: SourceFile): string[] {
  return file.imports.filter((specifier) => specifier.startsWith('.')).map((specifier) => posix.join(posix.dirname(file.path), specifier))
}

/** H4. */
function pureBreaches(file: SourceFile): string[] {
  const packages = PURE[file.room]
  if (packages === undefined) return []
  const foreign = file.imports.filter((specifier) => !specifier.startsWith('.') && !packages.includes(packageOf(specifier)))
  const globals = file.uses.map((use) => use.split('.')[0] ?? '').filter((name) => NODE_GLOBALS.has(name))
  return [...foreign, ...globals].map((name) => `${file.path}: ${file.room} may not use ${name}`)
}

function packageOf(specifier: string): string {
  if (isBuiltin(specifier)) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** H5. */
function portBreaches(file: SourceFile): string[] {
  const reached: [string, Port | undefined][] = [
    ...file.imports.map((specifier): [string, Port | undefined] => [specifier, own(PORT_OF_MODULE, specifier.replace(/^node:/, ''))]),
    ...file.uses.map((use): [string, Port | undefined] => [use, own(PORT_OF_CALL, use.replace(/^(globalThis|crypto)\./, ''))]),
  ]
  return reached.flatMap(([name, port]) => {
    if (port === undefined || PORTS[port].some((place) => (place.endsWith('/') ? file.path.startsWith(place) : file.path === place))) return []
    return [`${file.path}: ${name} is behind a port here (${port})`]
  })
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}

/** H3. One sentence for each group of files that reach each other. */
function cycles(files: readonly SourceFile[]): string[] {
  const targets = new Map(files.map((file) => [file.path, localImports(file)]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at >= 0) found.push(`import cycle: ${[...trail.slice(at), path].join(' -> ')}`)
    if (at >= 0 || done.has(path)) return
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const path of [...targets.keys()].toSorted()) visit(path, [])
  return found
}
