/** Paths of file tools: always inside the workspace, links and dots included. */
import { realpath } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path'

/** A path inside the workspace, or why it is none. */
export type Contained = { readonly path: string } | { readonly refused: string }

/** Resolves `path` against `workspace`, following links as far as the path exists. */
export async function contain(workspace: string, path: string): Promise<Contained> {
  if (path === '' || path.includes('\0')) return { refused: 'the path is not valid' }
  const root = await realpath(workspace)
  const real = await realOf(resolve(root, path))
  const inside = relative(root, real)
  if (inside !== '' && (inside === '..' || inside.startsWith('../') || isAbsolute(inside))) return { refused: `${path} is outside the workspace` }
  return { path: real }
}

/** The path without links: the longest part that exists is resolved, the rest is appended. */
async function realOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    const parent = dirname(path)
    return parent === path ? path : join(await realOf(parent), basename(path))
  }
}
