/** Where an operator's tools may write a file. */
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ConvokeError } from '../../../domain/errors.ts'

/** Files of a data folder by which a log lives. */
const OF_A_LOG = /^convoke\.(db|driver|lock|pid)/

/**
 * Looks whether a file may get the name `path`.
 *
 * @throws {ConvokeError} `store_failed` if it exists and `force` is not set, if there is no such folder, and, whatever is set, for a file of a log: a server that has
 *     it open would go on writing into a file without a name, and all of that would be lost
 */
export function requireTarget(path: string, force: boolean | undefined): void {
  const folder = dirname(path)
  if (!existsSync(folder)) throw new ConvokeError('store_failed', `there is no folder ${folder}`)
  const isOfALog = OF_A_LOG.test(basename(path)) && ['convoke.driver', 'convoke.lock'].some((name) => existsSync(join(folder, name)))
  if (isOfALog) throw new ConvokeError('store_failed', `${path} belongs to the log in ${folder}: choose another name`)
  if (force !== true && existsSync(path)) throw new ConvokeError('store_failed', `${path} exists; --force replaces it`)
}
