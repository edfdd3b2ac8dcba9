"""What both readers with httpx have in common: sign-in, the walk over users and vehicles, the table."""

import argparse
import datetime
import os
import sqlite3

import httpx

FIRST_DAY = "2020-01-01"
LIMIT = 200

COLUMNS = (
    "id user_id vehicle_id plug_in_time unplug_time inferred_session_end desired_charging_start_time "
    "desired_charging_end_time charge_deadline target_soc_pct initial_soc_pct final_soc_pct energy_charged_kwh "
    "avg_charge_power_kw peak_charge_power_kw actual_cost_eur expected_savings_eur actual_savings_eur is_at_home "
    "session_outcome is_hidden hidden_reason target_reachable reachable_soc_pct"
).split()
FIELDS = [column for column in COLUMNS if column not in ("user_id", "vehicle_id")]

SCHEMA = """
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL, vehicle_id TEXT NOT NULL, plug_in_time TEXT NOT NULL,
  unplug_time TEXT, inferred_session_end TEXT, desired_charging_start_time TEXT, desired_charging_end_time TEXT,
  charge_deadline TEXT, target_soc_pct REAL, initial_soc_pct REAL, final_soc_pct REAL, energy_charged_kwh REAL,
  avg_charge_power_kw REAL, peak_charge_power_kw REAL, actual_cost_eur REAL, expected_savings_eur REAL,
  actual_savings_eur REAL, is_at_home INTEGER, session_outcome TEXT, is_hidden INTEGER NOT NULL,
  hidden_reason TEXT, target_reachable INTEGER, reachable_soc_pct INTEGER
);
CREATE INDEX sessions_by_time ON sessions (plug_in_time);
"""


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--store", required=True)
    return parser.parse_args()


def instant(value):
    return None if value is None else value.isoformat()


def sync(decode, row):
    """Reads everything; `decode` makes a page of bytes, and `row` the values of FIELDS of a session."""
    options = arguments()
    connection = sqlite3.connect(options.store)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")
    connection.executescript(SCHEMA)
    insert = f"INSERT OR REPLACE INTO sessions ({', '.join(['user_id', 'vehicle_id', *FIELDS])}) VALUES ({', '.join('?' * 24)})"
    organisation = os.environ["BENCHMARK_ORGANISATION"]
    tomorrow = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).date().isoformat()
    with httpx.Client(base_url=options.address, timeout=30) as client:
        token = client.post(
            "/oauth2/token/", auth=("benchmark", "not-a-secret"), json={"grant_type": "client_credentials"}
        )
        token.raise_for_status()
        client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

        def get(path, **parameters):
            answer = client.get(path, params=parameters)
            answer.raise_for_status()
            return answer

        users = f"/api/partners/v2.0/org/{organisation}/users"
        for user in get(users).json():
            for vehicle in get(f"{users}/{user['id']}/electric-vehicles").json():
                path = f"{users}/{user['id']}/electric-vehicles/{vehicle['id']}/sessions"
                offset, total = 0, 1
                while offset < total:
                    answer = get(
                        path, **{"from": FIRST_DAY, "to": tomorrow}, limit=LIMIT, offset=offset, include_hidden="true"
                    )
                    page = decode(answer.content)
                    total = page.total
                    if not page.items and offset < total:
                        raise SystemExit("an empty page before the end")
                    offset += len(page.items)
                    with connection:
                        connection.executemany(
                            insert, [(user["id"], vehicle["id"], *row(session)) for session in page.items]
                        )
    connection.close()
