"""Runs the statements of docs/lake.md as they stand there, and compares them with an export of the program.

usage: check.py PAGE EXPORT, in the folder in which `lake` is
"""

import csv
import decimal
import re
import sys

import datafusion
import duckdb


def statements(page, engine):
    """Those of the blocks that begin with the name of the engine."""
    blocks = re.findall(rf"^```sql\n-- {engine}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    found = [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]
    if not found:
        raise SystemExit(f"the page has no statements for {engine}")
    return found


def by_duckdb(page):
    connection = duckdb.connect()
    for statement in statements(page, "DuckDB"):
        answer = connection.execute(statement)
    return answer.fetchall()


def by_datafusion(page):
    context = datafusion.SessionContext()
    for statement in statements(page, "DataFusion"):
        answer = context.sql(statement).to_pylist()
    return [tuple(row.values()) for row in answer]


def by_export(path):
    sums = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["energy_kwh"] and row["counts"] in ("yes", "energy_only"):
                month = row["start_local"][:7] or None
                key = (row["provider"], month)
                sums[key] = sums.get(key, 0) + decimal.Decimal(row["energy_kwh"])
    return [(*key, kwh) for key, kwh in sorted(sums.items(), key=lambda item: (item[0][0], item[0][1] or "~"))]


with open(sys.argv[1], encoding="utf-8") as file:
    page = file.read()
expected = by_export(sys.argv[2])
if len(expected) < 10:
    raise SystemExit(f"the export has {len(expected)} providers and months, which proves little")
for engine, answer in (("DuckDB", by_duckdb(page)), ("DataFusion", by_datafusion(page))):
    if answer != expected:
        raise SystemExit(f"{engine} reads\n{answer}\nand the program says\n{expected}")
    print(f"{engine}: {len(answer)} sums as the program's own")
