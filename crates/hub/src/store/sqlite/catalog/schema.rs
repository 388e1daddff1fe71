//! The schema of `catalog.db`, as steps.

use crate::store::sqlite::migrate::Migrations;

pub(super) const MIGRATIONS: Migrations = Migrations {
    page_bytes: 4096,
    steps: &[(1, FIRST), (2, SERVER_LIMIT), (3, PROCESS_LIMIT)],
};

/// Ids are hex text, so that a look inside with any SQL tool shows what the API shows. `*_key` columns hold the
/// lower-case form that uniqueness is about.
const FIRST: &str = "
CREATE TABLE users(
  id TEXT PRIMARY KEY,
  username TEXT NOT NULL,
  username_key TEXT NOT NULL UNIQUE,
  email TEXT NOT NULL,
  email_key TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  info TEXT NOT NULL DEFAULT '{}',
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE buckets(
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  comment TEXT NOT NULL,
  app_url TEXT NOT NULL,
  public_id TEXT NOT NULL UNIQUE,
  secret_id TEXT NOT NULL,
  plan TEXT NOT NULL,
  active INTEGER NOT NULL,
  owner TEXT NOT NULL REFERENCES users(id),
  offline_after_s INTEGER NOT NULL,
  delete_offline INTEGER NOT NULL,
  configuration TEXT NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members(
  bucket TEXT NOT NULL REFERENCES buckets(id) ON DELETE CASCADE,
  user TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  notify INTEGER NOT NULL DEFAULT 1,
  options TEXT NOT NULL DEFAULT '{}',
  PRIMARY KEY(bucket, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_user ON members(user);

CREATE TABLE invitations(
  bucket TEXT NOT NULL REFERENCES buckets(id) ON DELETE CASCADE,
  email_key TEXT NOT NULL,
  email TEXT NOT NULL,
  code TEXT NOT NULL UNIQUE,
  invited_ms INTEGER NOT NULL,
  PRIMARY KEY(bucket, email_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens(
  id TEXT PRIMARY KEY,
  user TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK(kind IN ('refresh', 'access')),
  hash BLOB NOT NULL UNIQUE,
  parent TEXT REFERENCES tokens(id) ON DELETE CASCADE,
  scope TEXT NOT NULL,
  label TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  used_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_user ON tokens(user);
CREATE INDEX tokens_parent ON tokens(parent) WHERE parent IS NOT NULL;
CREATE INDEX tokens_expiry ON tokens(expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE servers(
  id TEXT PRIMARY KEY,
  bucket TEXT NOT NULL REFERENCES buckets(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  machine TEXT,
  home TEXT,
  hostname TEXT NOT NULL,
  agent TEXT NOT NULL,
  hidden INTEGER NOT NULL,
  first_seen_ms INTEGER NOT NULL,
  last_seen_ms INTEGER NOT NULL,
  snapshot BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX servers_bucket ON servers(bucket, machine);

CREATE TABLE audit(
  id INTEGER PRIMARY KEY,
  bucket TEXT NOT NULL REFERENCES buckets(id) ON DELETE CASCADE,
  at_ms INTEGER NOT NULL,
  who TEXT NOT NULL,
  what TEXT NOT NULL,
  target TEXT NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_bucket ON audit(bucket, at_ms);

CREATE TABLE settings(
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// No value: no limit.
const SERVER_LIMIT: &str = "ALTER TABLE buckets ADD COLUMN max_servers INTEGER CHECK(max_servers > 0);";

/// No value: the plan decides.
const PROCESS_LIMIT: &str = "ALTER TABLE buckets ADD COLUMN max_processes INTEGER CHECK(max_processes > 0);";
