/** Commands that write and write, each trying in its own way to outlive the server. */

/** How a command is built, and what is promised of it. */
export interface WriterVariant {
  readonly name: string
  /** `write(name)` loops and writes its name, an ordinal and the time. */
  readonly command: string
  /** Names of the writers that left the process group: those are out of reach, and only those. */
  readonly outOfReach: readonly string[]
  /** What the harness does to the guardian before it kills the server. */
  readonly guardian?: 'kill'
}

/** All of them. */
export const WRITERS: readonly WriterVariant[] = [
  { name: 'a loop', command: 'write main', outOfReach: [] },
  { name: 'a loop with children', command: 'write one & write two & wait', outOfReach: [] },
  { name: 'jobs in the background of a command that sleeps', command: 'write one & write two & sleep 300', outOfReach: [] },
  { name: 'a loop that ignores signals', command: "trap '' TERM HUP INT QUIT PIPE; write main", outOfReach: [] },
  { name: 'a child under nohup, disowned', command: 'export -f write; nohup bash -c "write child" > /dev/null 2>&1 & disown; write main', outOfReach: [] },
  { name: 'a loop that closed its input and output', command: 'exec < /dev/null > /dev/null 2>&1; write main', outOfReach: [] },
  { name: 'a loop that stopped its guardian', command: 'kill -STOP $PPID; write main', outOfReach: [] },
  { name: 'a loop whose guardian was killed', command: 'write main', outOfReach: [], guardian: 'kill' },
  { name: 'a child in a session of its own', command: 'export -f write; setsid bash -c "write away" & write main', outOfReach: ['away'] },
  { name: 'a job in a group of its own', command: 'set -m; write away & write main', outOfReach: ['away'] },
]

/** The bash command of `variant`, whose writers write to `file`. They end by themselves some time: nothing here runs for ever. */
export function writerCommand({ command }: WriterVariant, file: string): string {
  const loop = `i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo "$1 $i $EPOCHREALTIME" >> '${file}'; sleep 0.01; done`
  return `write() { local i; ${loop}; }; ${command}`
}

/** One line of a writer. */
export interface WrittenLine {
  readonly writer: string
  readonly ordinal: number
  readonly atMs: number
}

/** The lines in a writers' file; a last one without its end is none. */
export function parseWritten(text: string): readonly WrittenLine[] {
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  return lines.flatMap((line) => {
    const [writer, ordinal, seconds] = line.split(' ')
    return writer === undefined || ordinal === undefined || seconds === undefined
      ? []
      : [{ writer, ordinal: Number(ordinal), atMs: Number(seconds.replace(',', '.')) * 1000 }]
  })
}

/** What the log says of the moment at which the run went on. */
export interface Continuation {
  readonly session: string
  readonly position: number
  readonly name: string
  /** Cut to whole ms, as the log's times are. */
  readonly atMs: number
}

/** The writers in reach that wrote after the run went on. */
export function judgeWritten(lines: readonly WrittenLine[], outOfReach: readonly string[], then: Continuation): readonly string[] {
  const last = new Map<string, WrittenLine>()
  for (const line of lines) last.set(line.writer, line)
  return [...last.values()].flatMap(({ writer, ordinal, atMs }) => {
    if (outOfReach.includes(writer) || atMs < then.atMs + 1) return []
    const lateMs = (atMs - then.atMs).toFixed(1)
    return [
      `P5: session ${then.session}: ${writer} made its write ${ordinal} ${lateMs} ms after the run went on with ${then.name} at position ${then.position}`,
    ]
  })
}
