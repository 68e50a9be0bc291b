/**
 * The numbered migrations. One that was released never changes; a new one goes behind.
 *
 * An append touches two B-trees: `batch` at its right edge, by feed number, and the stream's row, which holds the places of its newest
 * batches (`places.ts`). The rest is written only when it changes.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;

  CREATE TABLE stream (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    head INTEGER NOT NULL,
    run_id TEXT,
    driver INTEGER,
    fence INTEGER NOT NULL,
    state TEXT NOT NULL,
    places TEXT NOT NULL
  ) STRICT;
  CREATE INDEX stream_unfinished ON stream (id) WHERE run_id IS NOT NULL;

  CREATE TABLE stream_item (
    stream INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (stream, kind, ordinal)
  ) WITHOUT ROWID, STRICT;

  CREATE TABLE batch (
    feed INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;

  CREATE TABLE block (
    segment INTEGER NOT NULL,
    first INTEGER NOT NULL,
    places TEXT NOT NULL,
    PRIMARY KEY (segment, first)
  ) WITHOUT ROWID, STRICT;

  CREATE TABLE session (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    status TEXT NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX session_by_status ON session (owner, status, updated_at_ms DESC, id DESC);
  CREATE INDEX session_by_owner ON session (owner, updated_at_ms DESC, id DESC);
  CREATE TABLE session_count (
    owner TEXT NOT NULL,
    status TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (owner, status)
  ) WITHOUT ROWID, STRICT;

  CREATE TABLE message (
    key INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    position INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX message_stream ON message (stream, ordinal, position);

  CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (scope, key)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX idempotency_age ON idempotency (at_ms);
  `,
  // Segments: positions up to base stand in other segments, each up to its row's last position, which comes after that many messages.
  // Orphans are segments whose session was erased: positions up to keep_to are read by forks, the rest goes with a sweep. Leftovers are
  // erased sessions whose files may still be there. A packed row stands for the batches of feed numbers first to last; due are runs to pack.
  `
  ALTER TABLE stream ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE inherit (
    stream INTEGER NOT NULL,
    last INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (stream, last)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX inherit_segment ON inherit (segment, last);
  CREATE TABLE orphan (
    segment INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    keep_to INTEGER NOT NULL,
    swept INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX orphan_unswept ON orphan (segment) WHERE swept = 0;
  CREATE TABLE leftover (id TEXT PRIMARY KEY, segment INTEGER NOT NULL) WITHOUT ROWID, STRICT;
  CREATE INDEX session_idle ON session (updated_at_ms, id);
  CREATE TABLE pack (last INTEGER PRIMARY KEY, first INTEGER NOT NULL) STRICT;
  CREATE TABLE pack_due (
    key INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
  ) STRICT;
  `,
]
