"""Sessions from the API into SQLite with httpx and pydantic: a model for each page, a transaction for each page."""

import datetime

from pydantic import BaseModel

from reader import FIELDS, instant, sync

Instant = datetime.datetime | None


class Session(BaseModel):
    id: str
    plug_in_time: datetime.datetime
    unplug_time: Instant = None
    inferred_session_end: Instant = None
    desired_charging_start_time: Instant = None
    desired_charging_end_time: Instant = None
    charge_deadline: Instant = None
    target_soc_pct: float | None = None
    initial_soc_pct: float | None = None
    final_soc_pct: float | None = None
    energy_charged_kwh: float | None = None
    avg_charge_power_kw: float | None = None
    peak_charge_power_kw: float | None = None
    actual_cost_eur: float | None = None
    expected_savings_eur: float | None = None
    actual_savings_eur: float | None = None
    is_at_home: bool | None = None
    session_outcome: str | None = None
    is_hidden: bool = False
    hidden_reason: str | None = None
    target_reachable: bool | None = None
    reachable_soc_pct: int | None = None


class Page(BaseModel):
    total: int
    items: list[Session]


def row(session):
    values = session.__dict__
    return [instant(value) if isinstance(value := values[name], datetime.datetime) else value for name in FIELDS]


sync(Page.model_validate_json, row)
