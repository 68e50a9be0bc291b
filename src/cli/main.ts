/** The command line. Each subcommand is imported when it is called, so that the others cost nothing. */
import { Command, CommanderError } from 'commander'
import { ConvokeError } from '../domain/errors.ts'
import { VERSION } from '../version.ts'

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
  const known = error instanceof ConvokeError
  process.stderr.write(`convoke: ${known || error instanceof Error ? (error as Error).message : String(error)}\n`)
  return 1
}
