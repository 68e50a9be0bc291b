/** The data folder that a subcommand works on. */
import type { LogFolder } from '../storage/sqlite/maintenance/open.ts'
import { loadConfig } from '../config.ts'
import { OUTPUTS_FOLDER } from '../system/folders.ts'

/** Flags that say where the data folder is. */
export interface DataFlags {
  readonly data?: string
  readonly config?: string
}

/** Where the configured log is. */
export async function logOf(flags: DataFlags): Promise<LogFolder> {
  const values = flags.data === undefined ? {} : { data: flags.data }
  const config = await loadConfig({ env: process.env, cwd: process.cwd(), file: flags.config, flags: values })
  return { folder: config.data, outputs: OUTPUTS_FOLDER }
}
