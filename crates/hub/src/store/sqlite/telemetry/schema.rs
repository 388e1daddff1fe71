//! The schema of `telemetry.db`, as steps.

use crate::store::sqlite::migrate::Migrations;

/// Pages of SQLite are large here, since pages of ours are: less of each is left empty.
pub(super) const MIGRATIONS: Migrations = Migrations {
    page_bytes: 32_768,
    steps: &[(1, FIRST), (2, HOURS)],
};

/// `pages.tier` is a place in [`super::tiers::TIERS`], or [`super::tiers::PACKED`]; below zero are pages that could not be read
/// and were set aside. `stale` names folded pages whose finer pages have changed since, from where on (see
/// [`super::tiers::part_ms`]), and hours of which minutes are not packed.
pub(super) const FIRST: &str = "
CREATE TABLE sources(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  bucket TEXT NOT NULL,
  server TEXT NOT NULL,
  UNIQUE(bucket, server)
) STRICT;

CREATE TABLE series(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL REFERENCES sources(id) ON DELETE CASCADE,
  app TEXT NOT NULL,
  pm_id INTEGER NOT NULL,
  metric TEXT NOT NULL,
  unit TEXT NOT NULL,
  last_ms INTEGER NOT NULL,
  UNIQUE(source, app, pm_id, metric)
) STRICT;

CREATE TABLE pages(
  id INTEGER PRIMARY KEY,
  source INTEGER NOT NULL REFERENCES sources(id) ON DELETE CASCADE,
  tier INTEGER NOT NULL,
  start_ms INTEGER NOT NULL,
  body BLOB NOT NULL,
  UNIQUE(source, tier, start_ms)
) STRICT;
CREATE INDEX pages_age ON pages(tier, start_ms);

CREATE TABLE stale(
  source INTEGER NOT NULL REFERENCES sources(id) ON DELETE CASCADE,
  tier INTEGER NOT NULL,
  start_ms INTEGER NOT NULL,
  PRIMARY KEY(source, tier, start_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX stale_order ON stale(tier, start_ms);

CREATE TABLE events(
  id INTEGER PRIMARY KEY,
  source INTEGER NOT NULL REFERENCES sources(id) ON DELETE CASCADE,
  bucket TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  app TEXT,
  pm_id INTEGER,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  data BLOB NOT NULL
) STRICT;
CREATE INDEX events_bucket ON events(bucket, at_ms);
CREATE INDEX events_source ON events(source, at_ms);
CREATE INDEX events_age ON events(at_ms);

CREATE TABLE streams(
  source INTEGER NOT NULL REFERENCES sources(id) ON DELETE CASCADE,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY(source, stream)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks(
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Minutes of raw samples are packed by the hour, and of a page of minutes one hour is made anew at a time.
const HOURS: &str = "
INSERT OR IGNORE INTO stale
  SELECT source, 2, start_ms + hours.ms FROM stale JOIN (
    SELECT 3600000 AS ms UNION ALL SELECT 7200000 UNION ALL SELECT 10800000 UNION ALL SELECT 14400000 UNION ALL SELECT 18000000
  ) AS hours WHERE tier = 2;
INSERT OR IGNORE INTO stale SELECT DISTINCT source, 4, start_ms - start_ms % 3600000 FROM pages WHERE tier = 0;
";
