-- Version 1. Never edited once released: what changes is another file.
--
-- Run with the schema of the fleet as the whole search path. Columns that end in `_us` are instants: microseconds since
-- 1970-01-01T00:00:00Z, by the clock of a worker. Those that end in `_at` are by the clock of the server, which is the
-- same for all.

CREATE TABLE layout (
  one     BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
  version INTEGER NOT NULL
);

-- Who is at work. A row is gone when its worker has ended, or is held to be dead.
CREATE TABLE workers (
  id           TEXT PRIMARY KEY,     -- the end of the name of its connections
  lock_id      TEXT NOT NULL UNIQUE, -- by which it locks jobs; another one after each time it lost the server
  place        TEXT NOT NULL,        -- a host and a process
  started_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  running      INTEGER NOT NULL DEFAULT 0
);

-- What shares one credential, and so one serial queue.
CREATE TABLE domains (
  name          TEXT PRIMARY KEY,
  not_before_us BIGINT -- what the provider asked for
);

CREATE TABLE accounts (
  name             TEXT COLLATE "C" PRIMARY KEY,
  provider         TEXT NOT NULL,
  domain           TEXT NOT NULL REFERENCES domains,
  every_us         BIGINT NOT NULL,
  configured_at    TIMESTAMPTZ NOT NULL, -- when a worker last had it in its configuration
  hinted           BOOLEAN NOT NULL DEFAULT FALSE, -- whether it is to be read once more after what is going on
  chain_us         BIGINT,  -- when the jobs that are going on began
  as_of_us         BIGINT,  -- when the jobs began that last read everything
  failures         INTEGER NOT NULL DEFAULT 0, -- in a row
  failing_since_us BIGINT,
  last_error       TEXT,
  parked_us        BIGINT,
  parked_reason    TEXT,
  jobs             BIGINT NOT NULL DEFAULT 0,
  pages            BIGINT NOT NULL DEFAULT 0,
  requests         BIGINT NOT NULL DEFAULT 0
);

-- How many requests may start within any stretch of time, whoever makes them.
CREATE TABLE limits (
  name     TEXT PRIMARY KEY,
  requests BIGINT NOT NULL,
  per_us   BIGINT NOT NULL
);

-- Requests that were let through, added up by hundredths of their stretch, so that a limit has about a hundred rows.
CREATE TABLE grants (
  limit_name TEXT NOT NULL REFERENCES limits ON DELETE CASCADE,
  part       BIGINT NOT NULL,
  requests   BIGINT NOT NULL,
  PRIMARY KEY (limit_name, part)
);

-- What has happened in all, by name.
CREATE TABLE totals (
  name  TEXT PRIMARY KEY,
  value BIGINT NOT NULL
);

-- How many more requests a limit lets through now.
CREATE FUNCTION left_of(wanted TEXT) RETURNS BIGINT LANGUAGE sql STABLE AS $$
  SELECT greatest(0, l.requests - coalesce((
    SELECT sum(g.requests) FROM grants g WHERE g.limit_name = l.name
    AND (g.part + 1) * greatest(1, l.per_us / 100) + l.per_us + least(1000000, l.per_us / 10)
        > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  ), 0))::bigint FROM limits l WHERE l.name = wanted
$$;

-- Lets one request through each of these limits, or none, and says in microseconds how long to wait: 0 if it may start.
-- A name without a limit is none. The request must start within a tenth of the stretch and one second, so the stretch is
-- held to be as much longer; and by one part, because when within its part a request started is not kept.
CREATE FUNCTION take(names TEXT[]) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
  one    limits%ROWTYPE;
  now_us BIGINT;
  part_us BIGINT;
  life   BIGINT;
  used   BIGINT;
  frees  BIGINT;
  wait   BIGINT := 0;
BEGIN
  -- Locked in one order, so that two never wait for each other.
  FOR one IN SELECT * FROM limits WHERE name = ANY(names) ORDER BY name FOR UPDATE LOOP
    now_us := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    part_us := greatest(1, one.per_us / 100);
    life := one.per_us + least(1000000, one.per_us / 10);
    DELETE FROM grants g WHERE g.limit_name = one.name AND (g.part + 1) * part_us + life <= now_us;
    SELECT coalesce(sum(g.requests), 0), min(g.part) INTO used, frees FROM grants g WHERE g.limit_name = one.name;
    IF used >= one.requests THEN
      wait := greatest(wait, (frees + 1) * part_us + life - now_us, 1);
    END IF;
  END LOOP;
  IF wait > 0 THEN
    RETURN wait;
  END IF;
  INSERT INTO grants AS g (limit_name, part, requests)
    SELECT l.name, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint / greatest(1, l.per_us / 100), 1
    FROM limits l WHERE l.name = ANY(names) ORDER BY l.name
    ON CONFLICT (limit_name, part) DO UPDATE SET requests = g.requests + 1;
  RETURN 0;
END;
$$;

-- Counts something that has happened.
CREATE FUNCTION count_one(what TEXT, by_how_many BIGINT) RETURNS VOID LANGUAGE sql AS $$
  INSERT INTO totals AS t (name, value) VALUES (what, by_how_many)
  ON CONFLICT (name) DO UPDATE SET value = t.value + excluded.value
$$;
