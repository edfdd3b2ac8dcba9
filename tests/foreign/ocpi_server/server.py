"""A sender of OCPI 2.1.1 and 2.2.1 that is somebody else's program, `extrawest-ocpi`, filled with a few records.

Only what the program leaves to its user is here: who may come in, and what there is. `cargo xtask ci` starts it, and
`tests/tests/foreign_ocpi.rs` reads it.

usage: server.py PORT
"""

import os
import sys
from datetime import datetime, timedelta, timezone

PORT = int(sys.argv[1])
# The program reads its settings while it is imported.
os.environ["OCPI_HOST"] = f"127.0.0.1:{PORT}"

import uvicorn  # noqa: E402
from py_ocpi.core.adapter import Adapter  # noqa: E402
from py_ocpi.core.authentication.authenticator import Authenticator  # noqa: E402
from py_ocpi.core.enums import ModuleID, RoleEnum  # noqa: E402
from py_ocpi.main import get_application  # noqa: E402
from py_ocpi.modules.cdrs.v_2_1_1.schemas import Cdr as Cdr211  # noqa: E402
from py_ocpi.modules.cdrs.v_2_2_1.schemas import Cdr as Cdr221  # noqa: E402
from py_ocpi.modules.sessions.v_2_1_1.schemas import Session as Session211  # noqa: E402
from py_ocpi.modules.sessions.v_2_2_1.schemas import Session as Session221  # noqa: E402
from py_ocpi.modules.versions.enums import VersionNumber  # noqa: E402

TOKEN = "Foreign-Token-1"
# Whoever comes with this one is shown a record that does not fit the program's own model.
TOKEN_WITH_MALFORMED = "Foreign-Token-2"
COUNT = 23
BEGIN = datetime(2026, 9, 1, 8, 0, tzinfo=timezone.utc)


def instant(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def periods(start):
    return [
        {"start_date_time": instant(start), "dimensions": [{"type": "ENERGY", "volume": 7.5}]},
        {"start_date_time": instant(start + timedelta(minutes=50)), "dimensions": [{"type": "ENERGY", "volume": 2.5}]},
    ]


PLACE = {
    "id": "LOC-1",
    "address": "Voorbeeldstraat 1",
    "city": "Gent",
    "country": "BEL",
    "coordinates": {"latitude": "51.053", "longitude": "3.723"},
}
TOKEN_OF_DRIVER = {
    "country_code": "NL",
    "party_id": "TNM",
    "uid": "04000001",
    "type": "RFID",
    "contract_id": "NL-TNM-C00000001-X",
}


def location_211():
    connector = {"standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "voltage": 230}
    connector |= {"id": "1", "amperage": 32, "tariff_id": "T-1", "last_updated": instant(BEGIN)}
    evse = {"uid": "EVSE-1", "evse_id": "BE*BEC*E0001", "status": "AVAILABLE", "connectors": [connector]}
    evse["last_updated"] = instant(BEGIN)
    place = {"type": "ON_STREET", "time_zone": "Europe/Brussels", "evses": [evse]}
    return PLACE | place | {"last_updated": instant(BEGIN)}


def common(turn):
    start = BEGIN + timedelta(hours=3 * turn)
    return start, {
        "auth_method": "WHITELIST",
        "currency": "EUR",
        "charging_periods": periods(start),
        "last_updated": instant(start + timedelta(hours=2)),
    }


def session(turn, version):
    start, record = common(turn)
    record |= {"id": f"Session-{turn}", "kwh": 10, "status": "ACTIVE" if turn == COUNT - 1 else "COMPLETED"}
    end = None if turn == COUNT - 1 else instant(start + timedelta(hours=2))
    if version == VersionNumber.v_2_1_1:
        record |= {"auth_id": "NL-TNM-C00000001-X", "location": location_211(), "total_cost": 4.2}
        return record | {"start_datetime": instant(start), "end_datetime": end}
    record |= {"country_code": "BE", "party_id": "BEC", "cdr_token": TOKEN_OF_DRIVER}
    record |= {"location_id": "LOC-1", "evse_uid": "EVSE-1", "connector_id": "1"}
    record["total_cost"] = {"excl_vat": 4.2, "incl_vat": 5.082}
    return record | {"start_date_time": instant(start), "end_date_time": end}


def cdr(turn, version):
    start, record = common(turn)
    record |= {"id": f"CDR-{turn}", "total_energy": 10, "total_time": 2, "total_parking_time": 0.5}
    # The program has the name of a later version in 2.1.1, too.
    record |= {"start_date_time": instant(start), "end_date_time": instant(start + timedelta(hours=2))}
    if version == VersionNumber.v_2_1_1:
        return record | {"auth_id": "NL-TNM-C00000001-X", "location": location_211(), "total_cost": 4.2}
    record |= {"country_code": "BE", "party_id": "BEC", "cdr_token": TOKEN_OF_DRIVER, "session_id": f"Session-{turn}"}
    connector = {"connector_standard": "IEC_62196_T2", "connector_format": "SOCKET"}
    connector |= {"connector_id": "1", "connector_power_type": "AC_3_PHASE", "evse_uid": "EVSE-1"}
    record["cdr_location"] = PLACE | connector | {"evse_id": "BE*BEC*E0001"}
    return record | {"total_cost": {"excl_vat": 4.2, "incl_vat": 5.082}}


class Records:
    @classmethod
    async def list(cls, module, role, filters, *args, auth_token=None, version=None, **kwargs):
        make = {ModuleID.sessions: session, ModuleID.cdrs: cdr}[module]
        records = [make(turn, version) for turn in range(COUNT)]
        if auth_token == TOKEN_WITH_MALFORMED:
            records[7]["last_updated"] = "never"
        begin, end = filters["date_from"], filters["date_to"]
        for record in list(records):
            at = record["last_updated"]
            at = BEGIN if at == "never" else datetime.fromisoformat(at.replace("Z", "+00:00"))
            if (begin and at < begin) or (end and at >= end):
                records.remove(record)
        offset, limit = filters["offset"], filters["limit"]
        page = records[offset : offset + limit]
        return page, len(records), offset + limit >= len(records)


class Models(Adapter):
    @classmethod
    def session_adapter(cls, data, version=VersionNumber.latest):
        return (Session211 if version == VersionNumber.v_2_1_1 else Session221)(**data)

    @classmethod
    def cdr_adapter(cls, data, version=VersionNumber.latest):
        return (Cdr211 if version == VersionNumber.v_2_1_1 else Cdr221)(**data)


class Tokens(Authenticator):
    @classmethod
    async def get_valid_token_c(cls):
        return [TOKEN, TOKEN_WITH_MALFORMED]

    @classmethod
    async def get_valid_token_a(cls):
        return []


app = get_application(
    version_numbers=[VersionNumber.v_2_1_1, VersionNumber.v_2_2_1],
    roles=[RoleEnum.cpo],
    crud=Records,
    modules=[ModuleID.sessions, ModuleID.cdrs],
    authenticator=Tokens,
    adapter=Models,
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
