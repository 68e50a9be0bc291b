/** The folders that sessions work in. */
import { mkdir, readdir, realpath, rm, stat } from 'node:fs/promises'
import { isAbsolute, join, relative } from 'node:path'
import type { SessionId } from '../domain/ids.ts'
import { ConvokeError } from '../domain/errors.ts'

/** Name of the folder below the data folder that holds tools' whole outputs, by session. */
export const OUTPUTS_FOLDER = 'outputs'
/** Name of the folder below the data folder that holds the workspaces of sessions without a folder of their own. */
export const WORKSPACES_FOLDER = 'workspaces'

/** Makes and checks folders below one data folder. */
export class SessionFolders {
  readonly #dataFolder: string
  readonly #roots: readonly string[]
  readonly #restricted: boolean

  /**
   * @param options.roots Where sessions may work.
   * @param options.restricted Whether `roots` bind: they do as soon as anybody needs a key.
   */
  constructor(options: { readonly dataFolder: string; readonly roots: readonly string[]; readonly restricted: boolean }) {
    this.#dataFolder = options.dataFolder
    this.#roots = options.roots
    this.#restricted = options.restricted
  }

  /**
   * The folder that a new session asks for, resolved.
   *
   * @throws {ConvokeError} `invalid_request` if it is not an absolute path of an existing folder; `cwd_not_allowed` outside the roots.
   */
  async resolveCwd(cwd: string): Promise<string> {
    if (!isAbsolute(cwd) || cwd.includes('\0'))
      throw new ConvokeError('invalid_request', 'cwd must be an absolute path', { errors: [{ pointer: '/cwd', detail: 'must be an absolute path' }] })
    const real = await realFolder(cwd)
    if (this.#restricted && !(await this.#isBelowRoots(real))) throw new ConvokeError('cwd_not_allowed', 'cwd is not below a configured workspace root')
    if (real === undefined) throw new ConvokeError('invalid_request', 'cwd is not a folder', { errors: [{ pointer: '/cwd', detail: 'no such folder' }] })
    return real
  }

  /** The folders of one session's tools; both exist afterwards. */
  async ensure(session: SessionId, cwd: string | undefined): Promise<{ workspace: string; outputFolder: string }> {
    const workspace = cwd ?? this.#workspace(session)
    const outputFolder = this.#outputs(session)
    await Promise.all([mkdir(workspace, { recursive: true }), mkdir(outputFolder, { recursive: true, mode: 0o700 })])
    return { workspace, outputFolder }
  }

  /** How many files a session has in the data folder. What lies in a folder that it was given is not its own. */
  async count(session: SessionId): Promise<{ readonly workspace: number; readonly outputs: number }> {
    const [workspace, outputs] = await Promise.all([countFiles(this.#workspace(session)), countFiles(this.#outputs(session))])
    return { workspace, outputs }
  }

  /** Removes what a session has in the data folder, but for outputs of these names. What is gone already is no matter. */
  async remove(session: SessionId, keep: ReadonlySet<string> = new Set()): Promise<void> {
    await rm(this.#workspace(session), { recursive: true, force: true })
    const outputs = this.#outputs(session)
    if (keep.size === 0) return rm(outputs, { recursive: true, force: true })
    for (const name of await readNames(outputs)) if (!keep.has(name)) await rm(join(outputs, name), { recursive: true, force: true })
  }

  #workspace(session: SessionId): string {
    return join(this.#dataFolder, WORKSPACES_FOLDER, session)
  }

  #outputs(session: SessionId): string {
    return join(this.#dataFolder, OUTPUTS_FOLDER, session)
  }

  async #isBelowRoots(real: string | undefined): Promise<boolean> {
    if (real === undefined) return false
    for (const root of this.#roots) {
      const realRoot = await realFolder(root)
      if (realRoot === undefined) continue
      const path = relative(realRoot, real)
      if (path === '' || (path !== '..' && !path.startsWith('../') && !isAbsolute(path))) return true
    }
    return false
  }
}

/** The path without links, or `undefined` if it is no folder. */
async function realFolder(path: string): Promise<string | undefined> {
  try {
    const real = await realpath(path)
    return (await stat(real)).isDirectory() ? real : undefined
  } catch {
    // Missing or unreadable is the same to the caller: no such folder.
    return undefined
  }
}

/** Files below a folder, its folders not counted; none if there is no such folder. */
async function countFiles(folder: string): Promise<number> {
  let count = 0
  const folders = [folder]
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    for (const entry of await readdir(at, { withFileTypes: true }).catch(noSuchFolder)) {
      if (entry.isDirectory()) folders.push(join(at, entry.name))
      else count++
    }
  }
  return count
}

async function readNames(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(noSuchFolder)
}

function noSuchFolder(error: unknown): [] {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
  throw error
}
