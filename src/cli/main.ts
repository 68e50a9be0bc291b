/** The command line. Each subcommand is imported when it is called, so that the others cost nothing. */
import { Command, CommanderError } from 'commander'
import { VERSION } from '../version.ts'
import { addDb } from './db.ts'

/** Runs the command line. Answers the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let code = 0
  const program = new Command('convoke')
    .description('A server for AI agents whose sessions are durable logs.')
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError()
  program
    .command('serve')
    .description('start the server')
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .option('--port <n>', 'port to listen on; 0 takes a free one (default 4096)')
    .option('--data <dir>', 'folder of the log (default: the user’s data folder)')
    .option('--config <file>', 'configuration file')
    .option('--model <id>', 'default model, provider/id')
    .option('--no-auth', 'serve without keys, also where others can reach it')
    .option('--json', 'print the start line as JSON')
    .action(async (options: import('./serve.ts').ServeFlags) => {
      code = await (await import('./serve.ts')).serve(options)
    })
  program
    .command('chat [session]')
    .description('talk to an agent; continues a session if one is named')
    .option('--url <url>', 'server (default CONVOKE_URL, else http://127.0.0.1:4096)')
    .option('--model <id>', 'model of a new session')
    .option('--cwd <dir>', 'folder that a new session works in (default: this one)')
    .option('--yes', 'allow every tool call; for pipes')
    .action(async (session: string | undefined, options: import('./chat.ts').ChatFlags) => {
      code = await (await import('./chat.ts')).chat(session, options)
    })
  const sessions = program.command('sessions').description('list sessions')
  sessions
    .option('--url <url>', 'server')
    .option('--limit <n>', 'how many (default 50)')
    .option('--json', 'one JSON object per line')
    .action(async (options: { url?: string; limit?: string; json?: boolean }) => {
      code = await (await import('./sessions.ts')).listSessions(options)
    })
  sessions
    .command('assign')
    .description('hand over all sessions of one user to another; the server must be stopped')
    .requiredOption('--from <user>', 'whose sessions')
    .requiredOption('--to <user>', 'the new owner')
    .option('--data <dir>', 'folder of the log')
    .option('--config <file>', 'configuration file')
    .action(async (options: { from: string; to: string; data?: string; config?: string }) => {
      code = await (await import('./sessions.ts')).assignSessions(options)
    })
  program
    .command('tail <session>')
    .description('show a session’s events as they come')
    .option('--url <url>', 'server')
    .option('--from <n>', 'begin at this position; 1 is the beginning')
    .option('--json', 'one JSON object per event')
    .option('--until-end', 'stop at the end of a run')
    .action(async (session: string, options: { url?: string; from?: string; json?: boolean; untilEnd?: boolean }) => {
      code = await (await import('./tail.ts')).tail(session, options)
    })
  addDb(program, (ended) => (code = ended))
  for (const [name, description] of [
    ['config', 'show the effective configuration, without secrets'],
    ['doctor', 'look for what would keep a server from working'],
  ] as const) {
    program
      .command(name)
      .description(description)
      .option('--config <file>', 'configuration file')
      .option('--data <dir>', 'folder of the log')
      .option('--host <address>', 'address')
      .option('--port <n>', 'port')
      .action(async (options: import('./doctor.ts').ConfigFlags) => {
        const { doctor, showConfig } = await import('./doctor.ts')
        code = await (name === 'config' ? showConfig(options) : doctor(options))
      })
  }
  // `convoke tail … | head`: whoever reads has enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    if (argv[0] !== 'serve') process.exit(0)
  })
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    return report(error)
  }
}

/** Says what went wrong so that a person can act on it. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode
  process.stderr.write(`convoke: ${error instanceof Error ? error.message : String(error)}\n`)
  return 1
}
