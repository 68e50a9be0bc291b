/** The folders that sessions work in. */
import { mkdir, realpath, stat } from 'node:fs/promises'
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
    const workspace = cwd ?? join(this.#dataFolder, WORKSPACES_FOLDER, session)
    const outputFolder = join(this.#dataFolder, OUTPUTS_FOLDER, session)
    await Promise.all([mkdir(workspace, { recursive: true }), mkdir(outputFolder, { recursive: true, mode: 0o700 })])
    return { workspace, outputFolder }
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
