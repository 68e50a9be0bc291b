/** `convoke db`: the care of a data folder. Each subcommand is imported when it is called. */
import type { Command } from 'commander'
import type { DataFlags } from './data.ts'

/** Adds the subcommands to `program`; `ended` is told the exit code. */
export function addDb(program: Command, ended: (code: number) => void): void {
  const db = program.command('db').description('check, save and move a data folder')
  const command = (usage: string, description: string) =>
    db
      .command(usage)
      .description(description)
      .option('--data <dir>', 'the data folder (default: the configured one)')
      .option('--config <file>', 'configuration file')
  command('check', 'look whether the log is sound; also beside a running server')
    .option('--json', 'one JSON object per line')
    .action(async (flags: DataFlags & { json?: boolean }) => ended(await (await import('./db-check.ts')).checkDb(flags)))
  command('backup <file>', 'save the log and tools’ output files to one file; also beside a running server')
    .option('--force', 'replace the file if it exists')
    .action(async (file: string, flags: DataFlags & { force?: boolean }) => ended(await (await import('./db-save.ts')).backupDb(file, flags)))
  command('restore <file>', 'make the log of a backup the log of the data folder; the server must be stopped')
    .option('--force', 'replace what is there; it is kept aside')
    .option('--damaged', 'restore a backup that is not sound, too')
    .action(async (file: string, flags: DataFlags & { force?: boolean; damaged?: boolean }) =>
      ended(await (await import('./db-save.ts')).restoreDb(file, flags)),
    )
  command('compact', 'give back the space of what was removed; the server must be stopped').action(async (flags: DataFlags) =>
    ended(await (await import('./db-save.ts')).compactDb(flags)),
  )
  command('export <session> [file]', 'write one session as JSON Lines to a file, or to standard output (-); also beside a running server')
    .option('--force', 'replace the file if it exists')
    .option('--damaged', 'export a session of which events are lost, with a mark in each lost place')
    .action(async (session: string, file: string | undefined, flags: DataFlags & { force?: boolean; damaged?: boolean }) =>
      ended(await (await import('./db-move.ts')).exportDb(session, file, flags)),
    )
  command('import <file>', 'read one session from a file, or from standard input (-); the server must be stopped')
    .option('--as <id>', 'give the session this id')
    .option('--new-id', 'give the session a new id')
    .action(async (file: string, flags: DataFlags & { as?: string; newId?: boolean }) => ended(await (await import('./db-move.ts')).importDb(file, flags)))
}
