/** Folders that no server may start on: read-only ones, a newer version's, and one that another process holds. */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { startChild, startedChild, wrongInRefusal } from '../faults/child.ts'
import { said } from '../support/undo.ts'
import type { Base } from './base.ts'

/** Nobody: a user whom permissions bind, unlike root. */
const NOBODY = 65_534

/** Tries them all; answers what was tried and what was lost. */
export async function refusedFolders({ folder }: Base, lost: string[]): Promise<{ readonly tried: number; readonly skipped: readonly string[] }> {
  const skipped: string[] = []
  let tried = 0
  const root = process.getuid?.() === 0
  const attempt = async (what: string, code: string, prepare: (copy: string) => Promise<(() => unknown) | undefined>) => {
    const copy = `${folder}-refused`
    cpSync(folder, copy, { recursive: true, filter: (path) => !/workspaces|outputs/.test(path) })
    try {
      const undo = await prepare(copy)
      if (undo === undefined) return void skipped.push(what)
      tried++
      try {
        const start = await startChild({ data: copy, ...(what.includes('nobody') ? { uid: NOBODY } : {}) })
        if (start.kind === 'listening') {
          lost.push(`${what}: the server started`)
          await start.child.kill('SIGKILL')
        } else {
          const wrong = wrongInRefusal(start) ?? (start.said.includes(`[${code}]`) ? undefined : `it said ${start.said}`)
          if (wrong !== undefined) lost.push(`${what}: ${wrong}`)
        }
      } finally {
        await undo()
      }
    } catch (error) {
      lost.push(`${what}: ${said(error)}`)
    } finally {
      rmSync(copy, { recursive: true, force: true })
    }
  }
  const own = (copy: string) => {
    if (root) for (const name of ['.', ...readdirSync(copy)]) chownSync(join(copy, name), NOBODY, NOBODY)
  }
  const by = root ? 'nobody’s ' : ''
  await attempt(`${by}read-only folder`, 'store_failed', async (copy) => {
    own(copy)
    for (const name of readdirSync(copy)) chmodSync(join(copy, name), 0o444)
    chmodSync(copy, 0o555)
    return () => chmodSync(copy, 0o755)
  })
  await attempt(`${by}read-only database`, 'store_failed', async (copy) => {
    own(copy)
    chmodSync(join(copy, 'convoke.db'), 0o444)
    return () => undefined
  })
  await attempt(`${by}unreadable database`, 'store_failed', async (copy) => {
    own(copy)
    chmodSync(join(copy, 'convoke.db'), 0)
    return () => undefined
  })
  await attempt('a read-only file system', 'store_failed', async (copy) => {
    if (!root) return undefined
    try {
      execFileSync('mount', ['--bind', copy, copy], { stdio: 'ignore' })
      execFileSync('mount', ['-o', 'remount,ro,bind', copy], { stdio: 'ignore' })
    } catch {
      // Not allowed to in this container.
      return undefined
    }
    return () => execFileSync('umount', ['-l', copy])
  })
  await attempt('a newer version’s folder', 'store_newer', async (copy) => {
    const db = new DatabaseSync(join(copy, 'convoke.db'))
    db.exec('PRAGMA user_version = 999')
    db.close()
    return () => undefined
  })
  await attempt('a folder that another server has', 'store_locked', async (copy) => {
    const first = await startedChild({ data: copy })
    return () => first.kill('SIGKILL')
  })
  await attempt('a folder in place of the database', 'store_failed', async (copy) => {
    for (const end of ['', '-wal', '-shm']) rmSync(join(copy, `convoke.db${end}`), { force: true })
    mkdirSync(join(copy, 'convoke.db'))
    return () => undefined
  })
  return { tried, skipped }
}
