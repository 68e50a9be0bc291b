/** A disk that can be filled: a small file system in memory where it can be mounted, else a library in front of the system's calls. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Undo } from '../support/undo.ts'

/** Size of the mounted disk: more than the logs here need, in MB. */
const DISK_MB = 24
/** What one write of the ballast takes at most, in bytes. */
const BALLAST_BYTES = 64 * 1024

/** A disk. */
export interface SmallDisk {
  readonly how: string
  /** A folder on it. */
  readonly folder: string
  /** Environment that a process on it needs. */
  readonly env: Readonly<Record<string, string>>
  /** Leaves no byte free. */
  fill(): void
  /** Gives the room back. */
  free(): void
}

/** A file system of its own; `undefined` where this process may not mount one. */
export function mountedDisk(undo: Undo): SmallDisk | undefined {
  const at = mkdtempSync(join(tmpdir(), 'convoke-torture-mount-'))
  undo.add(() => rmSync(at, { recursive: true, force: true }))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m,mode=0755`, 'tmpfs', at], { stdio: 'ignore' })
  } catch {
    // Not root, or not allowed to in this container: the caller says so.
    return undefined
  }
  undo.add(() => execFileSync('umount', ['-l', at]))
  const ballast = join(at, 'ballast')
  const folder = join(at, 'data')
  mkdirSync(folder)
  return { how: 'a mounted file system', folder, env: {}, fill: () => fillUp(ballast), free: () => rmSync(ballast, { force: true }) }
}

function fillUp(file: string): void {
  const fd = openSync(file, 'a')
  try {
    for (let bytes = BALLAST_BYTES; bytes >= 1;) {
      try {
        writeSync(fd, Buffer.alloc(bytes))
      } catch {
        // No room for so many: what is left takes fewer.
        bytes = Math.floor(bytes / 2)
      }
    }
  } finally {
    closeSync(fd)
  }
}

/** Writes to files fail as on a full disk as long as the file that `CONVOKE_FULL` names is there. */
const SHIM = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
static int full(int fd, off_t end) {
  const char *flag = getenv("CONVOKE_FULL");
  struct stat about;
  return flag && access(flag, F_OK) == 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && end > about.st_size;
}
#define NEXT(name) __typeof__(name) *next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define REFUSE(end) if (full(fd, end)) { errno = ENOSPC; return -1; }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { NEXT(pwrite); REFUSE(at + (off_t)count) return next(fd, bytes, count, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { NEXT(pwrite64); REFUSE(at + (off_t)count) return next(fd, bytes, count, at); }
ssize_t write(int fd, const void *bytes, size_t count) { NEXT(write); REFUSE(lseek(fd, 0, SEEK_CUR) + (off_t)count) return next(fd, bytes, count); }
int ftruncate64(int fd, off64_t end) { NEXT(ftruncate64); REFUSE(end) return next(fd, end); }
int ftruncate(int fd, off_t end) { NEXT(ftruncate); REFUSE(end) return next(fd, end); }
`

/** A library in front of the system's calls; `undefined` where there is no compiler. */
export function preloadedDisk(undo: Undo): SmallDisk | undefined {
  const at = mkdtempSync(join(tmpdir(), 'convoke-torture-shim-'))
  undo.add(() => rmSync(at, { recursive: true, force: true }))
  const [source, library, flag, folder] = ['shim.c', 'shim.so', 'full', 'data'].map((name) => join(at, name)) as [string, string, string, string]
  writeFileSync(source, SHIM)
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'], { stdio: 'ignore' })
  } catch {
    // No compiler here: the caller says so.
    return undefined
  }
  mkdirSync(folder)
  return {
    how: 'a preloaded library',
    folder,
    env: { LD_PRELOAD: library, CONVOKE_FULL: flag },
    fill: () => writeFileSync(flag, ''),
    free: () => rmSync(flag, { force: true }),
  }
}
