-- Version 1. Never edited once released: what changes is another file.
--
-- Columns that end in `_us` are instants: microseconds since 1970-01-01T00:00:00Z. Energy is in whole milliwatt-hours,
-- so that sums are exact. For reading, there are the views at the end.

-- One account at one provider.
CREATE TABLE accounts (
  id             INTEGER PRIMARY KEY,
  provider       TEXT NOT NULL,
  account        TEXT NOT NULL,
  epoch          INTEGER NOT NULL DEFAULT 0, -- of the latest run; writes state theirs
  writes         INTEGER NOT NULL DEFAULT 0, -- a clock that counts pages, so that no clock on a wall decides what was seen
  writer         TEXT,                       -- who began the latest run
  began_us       INTEGER,                    -- and when
  example_id     INTEGER,                    -- of revisions: the one that new ones are packed by
  UNIQUE (provider, account)
) STRICT;

-- What was received and could not be mapped, once per content. `bytes` is a block of LZ4 if that is shorter than `size`,
-- else as received.
CREATE TABLE payloads (
  id    INTEGER PRIMARY KEY,
  hash  BLOB NOT NULL UNIQUE, -- SHA-256
  size  INTEGER NOT NULL,
  bytes BLOB NOT NULL
) STRICT;

-- Which revisions have what was received, by the first five bytes of its hash, which tell nearly all apart, and of which
-- the last is 1 where all would be 0. The latest are in the first table, a row for each batch: those of the revision
-- `first_id` and of the ones after it, one after the other, and zeros where a revision has none. Once there are enough to
-- be worth a walk through the second, they are merged into it in order, the five bytes as a number.
CREATE TABLE new_payload_places (
  first_id INTEGER PRIMARY KEY, -- of revisions, as in the other, without a constraint, which would be looked up for each
  prefixes BLOB NOT NULL
) STRICT;
CREATE TABLE payload_places (
  prefix      INTEGER NOT NULL,
  revision_id INTEGER NOT NULL,
  PRIMARY KEY (prefix, revision_id)
) STRICT, WITHOUT ROWID;

-- Sessions as they are known now. The whole record is in the revision.
CREATE TABLE sessions (
  id              INTEGER PRIMARY KEY,
  account_id      INTEGER NOT NULL REFERENCES accounts,
  kind            TEXT NOT NULL,
  source_id       TEXT NOT NULL,
  handle          BLOB NOT NULL,
  revision        INTEGER NOT NULL,
  revision_id     INTEGER NOT NULL, -- of revisions, without a constraint, which would scan this table for each revision
  content         BLOB NOT NULL,
  mapping_version INTEGER NOT NULL, -- which made sure of this content, perhaps later than the revision
  first_seen_us   INTEGER NOT NULL,
  last_seen_us    INTEGER NOT NULL,
  seen            INTEGER NOT NULL, -- accounts.writes when it last came
  missing_us      INTEGER,          -- since when it is no longer listed
  status          TEXT NOT NULL,
  start_us        INTEGER,
  end_us          INTEGER,
  zone            TEXT,
  local_day       TEXT,             -- the day of the start on the clock of the place
  local_month     TEXT GENERATED ALWAYS AS (substr(local_day, 1, length(local_day) - 3)) VIRTUAL,
  energy_mwh      INTEGER,          -- the headline figure
  cost            TEXT,             -- in the major unit, as an exact decimal
  currency        TEXT,
  vehicle_id      TEXT,
  vehicle_name    TEXT,
  charge_point_id TEXT,
  location        TEXT,
  counts          INTEGER NOT NULL  -- 0 if a figure is known to be impossible
) STRICT;

-- Sessions by what they are called, no two alike. Identifiers come in no order, and each that is entered by itself would
-- change a page of its own: those of many new sessions are entered together, in order, at the end of a run at the latest.
CREATE TABLE session_keys (
  account_id INTEGER NOT NULL REFERENCES accounts,
  kind       TEXT NOT NULL,
  source_id  TEXT NOT NULL,
  session_id INTEGER NOT NULL REFERENCES sessions,
  PRIMARY KEY (account_id, kind, source_id)
) STRICT, WITHOUT ROWID;

-- Sessions by when they started, entered with their keys, and for the same reason. `start_us` is the least number there is
-- where no start is known, so that this is also all sessions of an account.
CREATE TABLE session_starts (
  account_id INTEGER NOT NULL REFERENCES accounts,
  start_us   INTEGER NOT NULL,
  session_id INTEGER NOT NULL REFERENCES sessions,
  PRIMARY KEY (account_id, start_us, session_id)
) STRICT, WITHOUT ROWID;

-- Sessions by the vehicle and the charge point that they are of, or once were: those from `first_id` to `last_id`, as most
-- are read one asset after the other. `asset` is the first seven bytes of the SHA-256 of what is called, for instance,
-- `1 vehicle_id abc`: the account, the column, the identifier. Which asset it really is, the session says.
CREATE TABLE asset_runs (
  asset    INTEGER NOT NULL,
  first_id INTEGER NOT NULL,
  last_id  INTEGER NOT NULL,
  PRIMARY KEY (asset, first_id)
) STRICT, WITHOUT ROWID;

-- Up to which session these three have been done, in one row. Later ones are found by their handles, or one by one.
CREATE TABLE sessions_entered (
  session_id INTEGER NOT NULL
) STRICT;
INSERT INTO sessions_entered VALUES (0);

-- The handles of sessions once more, a row for each batch: of the session `first_id` and of the ones after it, 16 bytes
-- each. To find one, all are gone through, 16 MB for a million sessions; an index would be written to in as many places
-- as a batch has sessions.
CREATE TABLE handles (
  first_id INTEGER PRIMARY KEY REFERENCES sessions,
  handles  BLOB NOT NULL
) STRICT;

-- Everything that sessions have been. Only ever added to, in the order of `id`. Those of one session are a chain, from
-- its latest one to those before. `bytes` is what was received, unless the revision before has the same, and then the
-- record as JSON. If that is shorter, it is a block of LZ4; to unpack it, one may need what the revision `example_id` has
-- as the dictionary, which itself needs none.
CREATE TABLE revisions (
  id              INTEGER PRIMARY KEY,
  session_id      INTEGER NOT NULL REFERENCES sessions,
  number          INTEGER NOT NULL,
  before_id       INTEGER,       -- the revision before it, without a constraint, which would be looked up for each
  at_us           INTEGER NOT NULL,
  reason          TEXT NOT NULL,
  content         BLOB NOT NULL, -- SHA-256
  payload_id      INTEGER,       -- of revisions: which one has what was received, mostly itself; none if nothing was
  payload_hash    BLOB,          -- SHA-256, if it is itself
  payload_size    INTEGER NOT NULL, -- how many of the bytes were received, and
  record_size     INTEGER NOT NULL, -- how many are the record
  mapping_version INTEGER NOT NULL,
  example_id      INTEGER REFERENCES revisions,
  bytes           BLOB NOT NULL
) STRICT;

-- When revisions were written: those from `first_id` on, until the next row.
CREATE TABLE revision_times (
  first_id INTEGER PRIMARY KEY REFERENCES revisions,
  at_us    INTEGER NOT NULL
) STRICT;

-- The pieces of a session's current revision, for queries.
CREATE TABLE intervals (
  session_id        INTEGER NOT NULL REFERENCES sessions,
  number            INTEGER NOT NULL,
  start_us          INTEGER,
  end_us            INTEGER,
  energy_mwh        INTEGER,
  supply_energy_mwh INTEGER,
  max_power_mw      INTEGER,
  price_per_kwh     TEXT,
  currency          TEXT,
  PRIMARY KEY (session_id, number)
) STRICT, WITHOUT ROWID;

-- Which records belong together: `parent`, or how one is related to the other.
CREATE TABLE links (
  session_id INTEGER NOT NULL REFERENCES sessions,
  relation   TEXT NOT NULL,
  provider   TEXT NOT NULL,
  account    TEXT NOT NULL,
  kind       TEXT NOT NULL,
  source_id  TEXT NOT NULL,
  confidence TEXT, -- per cent; none if the provider says so itself
  PRIMARY KEY (session_id, relation, provider, account, kind, source_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_target ON links (provider, account, kind, source_id);

-- Where listings were interrupted.
CREATE TABLE places (
  account_id INTEGER NOT NULL REFERENCES accounts,
  slice      TEXT NOT NULL,    -- JSON
  cursor     TEXT NOT NULL,
  began_us   INTEGER NOT NULL,
  began      INTEGER NOT NULL, -- accounts.writes of its first page
  nameless   INTEGER NOT NULL, -- 1 if a record came that could not even be told by its identifier
  PRIMARY KEY (account_id, slice)
) STRICT, WITHOUT ROWID;

-- What was read as a whole.
CREATE TABLE coverage (
  account_id   INTEGER NOT NULL REFERENCES accounts,
  slice        TEXT NOT NULL, -- JSON
  from_us      INTEGER,
  began_us     INTEGER NOT NULL,
  completed_us INTEGER NOT NULL,
  PRIMARY KEY (account_id, slice)
) STRICT, WITHOUT ROWID;

-- Records that could not be mapped.
CREATE TABLE quarantine (
  account_id    INTEGER NOT NULL REFERENCES accounts,
  payload_id    INTEGER NOT NULL REFERENCES payloads,
  source_id     TEXT,
  code          TEXT NOT NULL,
  path          TEXT NOT NULL,
  reason        TEXT NOT NULL,
  first_seen_us INTEGER NOT NULL,
  last_seen_us  INTEGER NOT NULL,
  context       TEXT, -- JSON: what the mapping was told besides the record, to try again
  PRIMARY KEY (account_id, payload_id)
) STRICT, WITHOUT ROWID;

-- How runs ended.
CREATE TABLE runs (
  id          INTEGER PRIMARY KEY,
  account_id  INTEGER NOT NULL REFERENCES accounts,
  epoch       INTEGER NOT NULL,
  began_us    INTEGER NOT NULL,
  ended_us    INTEGER NOT NULL,
  requests    INTEGER NOT NULL,
  new         INTEGER NOT NULL,
  changed     INTEGER NOT NULL,
  unchanged   INTEGER NOT NULL,
  returned    INTEGER NOT NULL,
  vanished    INTEGER NOT NULL,
  quarantined INTEGER NOT NULL,
  error       TEXT
) STRICT;
CREATE INDEX runs_by_account ON runs (account_id);

-- One row for each session that is there. `cost` and the figures in kWh are approximate numbers, for charts; the exact
-- ones are in `cost_exact` and `energy_mwh`. Never add up different kinds: a stay at the plug contains its segments.
CREATE VIEW v_sessions AS
SELECT
  lower(substr(hex(s.handle), 1, 8) || '-' || substr(hex(s.handle), 9, 4) || '-' || substr(hex(s.handle), 13, 4)
    || '-' || substr(hex(s.handle), 17, 4) || '-' || substr(hex(s.handle), 21)) AS handle,
  a.provider, a.account, s.kind, s.source_id, s.status,
  strftime('%Y-%m-%dT%H:%M:%SZ', s.start_us / 1000000, 'unixepoch') AS start_utc,
  strftime('%Y-%m-%dT%H:%M:%SZ', s.end_us / 1000000, 'unixepoch') AS end_utc,
  s.start_us / 1000000 AS start_unix_seconds,
  s.end_us / 1000000 AS end_unix_seconds,
  (s.end_us - s.start_us) / 60000000.0 AS duration_minutes,
  s.zone, s.local_day, s.local_month,
  s.energy_mwh / 1000000.0 AS energy_kwh,
  s.energy_mwh,
  CAST(s.cost AS REAL) AS cost,
  s.cost AS cost_exact,
  s.currency, s.vehicle_id, s.vehicle_name, s.charge_point_id, s.location,
  s.counts, s.revision,
  strftime('%Y-%m-%dT%H:%M:%SZ', s.first_seen_us / 1000000, 'unixepoch') AS first_seen_utc,
  strftime('%Y-%m-%dT%H:%M:%SZ', s.last_seen_us / 1000000, 'unixepoch') AS last_seen_utc
FROM sessions AS s JOIN accounts AS a ON a.id = s.account_id
WHERE s.missing_us IS NULL;

-- One row for each month, account, kind of record and currency, of the sessions whose figures may be added up.
CREATE VIEW v_months AS
SELECT
  s.local_month, a.provider, a.account, s.kind, s.currency,
  count(*) AS sessions,
  round(sum(s.energy_mwh / 1000000.0), 6) AS energy_kwh,
  round(sum(CAST(s.cost AS REAL)), 6) AS cost
FROM sessions AS s JOIN accounts AS a ON a.id = s.account_id
WHERE s.missing_us IS NULL AND s.counts AND s.local_month IS NOT NULL
GROUP BY s.local_month, a.provider, a.account, s.kind, s.currency;
