-- Version 1. Never edited once released: what changes is another file.
--
-- Run with the schema of the store as the whole search path. The tables are those of SQLite, with the types that there
-- are here:
--
-- - Columns that end in `_us` are instants: microseconds since 1970-01-01T00:00:00Z, as numbers, because a timestamp
--   of PostgreSQL ends long before the earliest instant that a record may hold. Energy is in whole milliwatt-hours, so
--   that sums are exact. Money is an exact decimal.
-- - Text of providers may hold the character U+0000, which PostgreSQL has no room for. It is written as U+0001 U+0001,
--   and U+0001 itself as U+0001 U+0002; no other text is changed, and the order stays the same.
-- - An identifier may be longer than what an index can hold, so what must be unique is its SHA-256.
-- - Records are JSON that is kept to the letter, because what a record hashes to depends on it.
-- - What is sorted is sorted by its bytes, whatever the language of the database.

-- What this is, in its only row.
CREATE TABLE layout (
  one           BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
  application   TEXT NOT NULL DEFAULT 'charging-sessions',
  version       INTEGER NOT NULL,
  -- The last numbers that were given. Whoever adds revisions keeps this row to itself until it commits, so that no
  -- revision appears before one of a lower number.
  last_session  BIGINT NOT NULL DEFAULT 0,
  last_revision BIGINT NOT NULL DEFAULT 0
);

-- One account at one provider.
CREATE TABLE accounts (
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  provider TEXT COLLATE "C" NOT NULL,
  account  TEXT COLLATE "C" NOT NULL,
  epoch    BIGINT NOT NULL,           -- of the latest run; writes state theirs
  writes   BIGINT NOT NULL DEFAULT 0, -- a clock that counts pages, so that no clock on a wall decides what was seen
  writer   TEXT NOT NULL,             -- who began the latest run
  began_us BIGINT NOT NULL,           -- and when
  UNIQUE (provider, account)
);

-- What was received, once per content. `bytes` is Zstandard if it is shorter than `size`, else as received.
CREATE TABLE payloads (
  id    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  hash  BYTEA NOT NULL UNIQUE, -- SHA-256
  size  BIGINT NOT NULL,
  bytes BYTEA NOT NULL
);
ALTER TABLE payloads ALTER COLUMN bytes SET STORAGE EXTERNAL; -- it is as short as it gets already

-- Sessions as they are known now. The whole record is in the revision.
CREATE TABLE sessions (
  id              BIGINT PRIMARY KEY,
  account_id      BIGINT NOT NULL REFERENCES accounts,
  kind            TEXT COLLATE "C" NOT NULL,
  source_id       TEXT COLLATE "C" NOT NULL,
  source_hash     BYTEA NOT NULL,
  handle          UUID NOT NULL,
  revision        BIGINT NOT NULL,
  revision_id     BIGINT NOT NULL, -- of revisions, without a constraint, because it is written before them
  content         BYTEA NOT NULL,
  mapping_version BIGINT NOT NULL, -- which made sure of this content, perhaps later than the revision
  first_seen_us   BIGINT NOT NULL,
  last_seen_us    BIGINT NOT NULL,
  seen            BIGINT NOT NULL, -- accounts.writes when it last came
  missing_us      BIGINT,          -- since when it is no longer listed
  status          TEXT COLLATE "C" NOT NULL,
  start_us        BIGINT,
  end_us          BIGINT,
  zone            TEXT,
  local_day       TEXT COLLATE "C", -- the day of the start on the clock of the place
  local_month     TEXT COLLATE "C" GENERATED ALWAYS AS (left(local_day, -3)) STORED,
  energy_mwh      BIGINT,          -- the headline figure
  cost            NUMERIC,         -- in the major unit
  currency        TEXT COLLATE "C",
  vehicle_id      TEXT COLLATE "C",
  vehicle_name    TEXT,
  charge_point_id TEXT COLLATE "C",
  location        TEXT,
  counts          BOOLEAN NOT NULL, -- false if a figure is known to be impossible
  UNIQUE (account_id, kind, source_hash)
) WITH (fillfactor = 85); -- that it was seen again is noted beside it
-- By which a record is known again. A single column that is unique needs no statistics to be the way that is taken.
CREATE UNIQUE INDEX sessions_by_handle ON sessions (handle);
CREATE INDEX sessions_by_start ON sessions (account_id, start_us);
-- For what is listed asset by asset. The hash is as short for any identifier, and `start_us` keeps a window from reading
-- all that an asset ever did.
CREATE INDEX sessions_by_vehicle ON sessions (account_id, hashtextextended(vehicle_id, 0), start_us)
  WHERE vehicle_id IS NOT NULL;
CREATE INDEX sessions_by_charge_point ON sessions (account_id, hashtextextended(charge_point_id, 0), start_us)
  WHERE charge_point_id IS NOT NULL;
-- In the order of keys, as far as an index can hold them.
CREATE INDEX sessions_by_key ON sessions (account_id, kind, (left(source_id, 200)));

-- Everything that sessions have been. Only ever added to, in the order of `id`.
CREATE TABLE revisions (
  id              BIGINT PRIMARY KEY,
  session_id      BIGINT NOT NULL REFERENCES sessions,
  number          BIGINT NOT NULL,
  at_us           BIGINT NOT NULL,
  reason          TEXT NOT NULL,
  content         BYTEA NOT NULL, -- SHA-256
  payload_id      BIGINT REFERENCES payloads,
  mapping_version BIGINT NOT NULL,
  record          JSON NOT NULL,
  UNIQUE (session_id, number)
);
CREATE INDEX revisions_by_time ON revisions (at_us, id);

-- The pieces of a session's current revision, for queries.
CREATE TABLE intervals (
  session_id        BIGINT NOT NULL REFERENCES sessions,
  number            BIGINT NOT NULL,
  start_us          BIGINT,
  end_us            BIGINT,
  energy_mwh        BIGINT,
  supply_energy_mwh BIGINT,
  max_power_mw      BIGINT,
  price_per_kwh     NUMERIC,
  currency          TEXT COLLATE "C",
  PRIMARY KEY (session_id, number)
);

-- Which records belong together: `parent`, or how one is related to the other.
CREATE TABLE links (
  session_id  BIGINT NOT NULL REFERENCES sessions,
  relation    TEXT COLLATE "C" NOT NULL,
  provider    TEXT COLLATE "C" NOT NULL,
  account     TEXT COLLATE "C" NOT NULL,
  kind        TEXT COLLATE "C" NOT NULL,
  source_id   TEXT COLLATE "C" NOT NULL,
  source_hash BYTEA NOT NULL,
  confidence  NUMERIC, -- per cent; none if the provider says so itself
  PRIMARY KEY (session_id, relation, provider, account, kind, source_hash)
);
CREATE INDEX links_by_target ON links (provider, account, kind, source_hash);

-- Where listings were interrupted.
CREATE TABLE places (
  account_id BIGINT NOT NULL REFERENCES accounts,
  slice_hash BYTEA NOT NULL,
  slice      TEXT NOT NULL,    -- JSON
  cursor     TEXT NOT NULL,
  began_us   BIGINT NOT NULL,
  began      BIGINT NOT NULL,  -- accounts.writes of its first page
  nameless   BOOLEAN NOT NULL, -- whether a record came that could not even be told by its identifier
  PRIMARY KEY (account_id, slice_hash)
);

-- What was read as a whole.
CREATE TABLE coverage (
  account_id   BIGINT NOT NULL REFERENCES accounts,
  slice_hash   BYTEA NOT NULL,
  slice        TEXT COLLATE "C" NOT NULL, -- JSON
  from_us      BIGINT,
  began_us     BIGINT NOT NULL,
  completed_us BIGINT NOT NULL,
  PRIMARY KEY (account_id, slice_hash)
);

-- Records that could not be mapped.
CREATE TABLE quarantine (
  number        BIGINT GENERATED ALWAYS AS IDENTITY, -- in which they are listed
  account_id    BIGINT NOT NULL REFERENCES accounts,
  payload_id    BIGINT NOT NULL REFERENCES payloads,
  source_id     TEXT COLLATE "C",
  code          TEXT NOT NULL,
  path          TEXT NOT NULL,
  reason        TEXT NOT NULL,
  first_seen_us BIGINT NOT NULL,
  last_seen_us  BIGINT NOT NULL,
  context       TEXT, -- JSON: what the mapping was told besides the record, to try again
  PRIMARY KEY (account_id, payload_id)
);

-- How runs ended.
CREATE TABLE runs (
  id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account_id  BIGINT NOT NULL REFERENCES accounts,
  epoch       BIGINT NOT NULL,
  began_us    BIGINT NOT NULL,
  ended_us    BIGINT NOT NULL,
  requests    BIGINT NOT NULL,
  new         BIGINT NOT NULL,
  changed     BIGINT NOT NULL,
  unchanged   BIGINT NOT NULL,
  returned    BIGINT NOT NULL,
  vanished    BIGINT NOT NULL,
  quarantined BIGINT NOT NULL,
  error       TEXT
);
CREATE INDEX runs_by_account ON runs (account_id, id);

-- An instant as text, in whole seconds; null where the calendar of the database ends.
CREATE FUNCTION utc(us BIGINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE AS $$
  SELECT CASE WHEN us BETWEEN -62135596800000000 AND 253402300799999999 THEN
    to_char(to_timestamp(us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  END
$$;

-- One row for each session that is there. `cost` and the figures in kWh are approximate numbers, for charts; the exact
-- ones are in `cost_exact` and `energy_mwh`. Never add up different kinds: a stay at the plug contains its segments.
CREATE VIEW v_sessions AS
SELECT
  s.handle::text AS handle,
  a.provider, a.account, s.kind, s.source_id, s.status,
  utc(s.start_us) AS start_utc,
  utc(s.end_us) AS end_utc,
  s.start_us / 1000000 AS start_unix_seconds,
  s.end_us / 1000000 AS end_unix_seconds,
  ((s.end_us - s.start_us) / 60000000.0)::double precision AS duration_minutes,
  s.zone, s.local_day, s.local_month,
  (s.energy_mwh / 1000000.0)::double precision AS energy_kwh,
  s.energy_mwh,
  s.cost::double precision AS cost,
  s.cost AS cost_exact,
  s.currency, s.vehicle_id, s.vehicle_name, s.charge_point_id, s.location,
  s.counts, s.revision,
  utc(s.first_seen_us) AS first_seen_utc,
  utc(s.last_seen_us) AS last_seen_utc
FROM sessions AS s JOIN accounts AS a ON a.id = s.account_id
WHERE s.missing_us IS NULL;

-- One row for each month, account, kind of record and currency, of the sessions whose figures may be added up.
CREATE VIEW v_months AS
SELECT
  s.local_month, a.provider, a.account, s.kind, s.currency,
  count(*) AS sessions,
  round(sum(s.energy_mwh) / 1000000.0, 6)::double precision AS energy_kwh,
  round(sum(s.cost), 6)::double precision AS cost
FROM sessions AS s JOIN accounts AS a ON a.id = s.account_id
WHERE s.missing_us IS NULL AND s.counts AND s.local_month IS NOT NULL
GROUP BY s.local_month, a.provider, a.account, s.kind, s.currency;
