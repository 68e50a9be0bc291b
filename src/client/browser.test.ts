/** `convoke/client` runs where there is no Node: what it is made of names no built-in and no Node global. */
import { readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseSync } from 'oxc-parser'
import { expect, test } from 'vitest'
import * as surface from './index.ts'

const source = join(dirname(fileURLToPath(import.meta.url)), '..')
const NODE_GLOBALS = /\b(?:process|Buffer|require|__dirname|__filename|setImmediate|global)\b(?!['’])/

/** Every module that `file` brings in at run time, itself first, and the packages among them. */
function closure(file: string, seen = new Map<string, readonly string[]>()): Map<string, readonly string[]> {
  if (seen.has(file)) return seen
  const { module } = parseSync(file, readFileSync(file, 'utf8'))
  const imports = module.staticImports
    .filter(({ entries }) => entries.length === 0 || entries.some(({ isType }) => !isType))
    .map((one) => one.moduleRequest.value)
  const exports = module.staticExports.flatMap(({ entries }) => entries.filter(({ isType }) => !isType).flatMap((one) => one.moduleRequest?.value ?? []))
  const names = [...new Set([...imports, ...exports])]
  seen.set(
    file,
    names.filter((name) => !name.startsWith('.')),
  )
  for (const name of names.filter((one) => one.startsWith('.'))) closure(join(dirname(file), name), seen)
  return seen
}

const modules = closure(join(source, 'client/index.ts'))

test('its modules are its own', () => {
  const names = [...modules.keys()].map((file) => file.slice(source.length + 1)).toSorted()
  expect(names).toEqual(['client/client.ts', 'client/errors.ts', 'client/events.ts', 'client/index.ts', 'client/request.ts'])
})

test('it imports one package, and nothing of Node', () => {
  const packages = [...modules.values()].flat()
  expect(packages).toEqual(['eventsource-parser'])
  expect(packages.filter(isBuiltin)).toEqual([])
})

test('it uses no global of Node', () => {
  for (const file of modules.keys()) {
    const code = readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    expect(NODE_GLOBALS.exec(code), file).toBeNull()
  }
})

test('it exports these names, and no others', () => {
  expect(Object.keys(surface).toSorted()).toEqual(['ConvokeClientError', 'createClient'])
})
