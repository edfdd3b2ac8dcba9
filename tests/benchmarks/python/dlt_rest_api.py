"""Sessions from the API into SQLite with dlt: its source for REST APIs, merged by the identifier."""

import datetime
import os
import pathlib

from reader import FIRST_DAY, LIMIT, arguments

# Where dlt keeps what it has under way, and no news for its makers.
options = arguments()
store = pathlib.Path(options.store)
os.environ["DLT_DATA_DIR"] = str(store.parent / "dlt")
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.sources.rest_api import rest_api_source

organisation = os.environ["BENCHMARK_ORGANISATION"]
tomorrow = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).date().isoformat()


def token():
    from dlt.sources.helpers import requests

    answer = requests.post(
        f"{options.address}/oauth2/token/",
        auth=("benchmark", "not-a-secret"),
        json={"grant_type": "client_credentials"},
    )
    return answer.json()["access_token"]


source = rest_api_source(
    {
        "client": {
            "base_url": f"{options.address}/api/partners/v2.0/org/{organisation}/",
            "auth": {"type": "bearer", "token": token()},
        },
        "resources": [
            {
                "name": "users",
                "endpoint": {"path": "users", "paginator": "single_page"},
                "primary_key": "id",
                "write_disposition": "merge",
            },
            {
                "name": "vehicles",
                "endpoint": {"path": "users/{resources.users.id}/electric-vehicles", "paginator": "single_page"},
                "include_from_parent": ["id"],
                "primary_key": "id",
                "write_disposition": "merge",
            },
            {
                "name": "sessions",
                "endpoint": {
                    "path": "users/{resources.vehicles._users_id}/electric-vehicles/{resources.vehicles.id}/sessions",
                    "params": {"from": FIRST_DAY, "to": tomorrow, "include_hidden": "true"},
                    "data_selector": "items",
                    "paginator": {"type": "offset", "limit": LIMIT, "total_path": "total"},
                },
                "include_from_parent": ["id", "_users_id"],
                "primary_key": "id",
                "write_disposition": "merge",
            },
        ],
    }
)

pipeline = dlt.pipeline(
    pipeline_name="benchmark",
    destination=dlt.destinations.sqlalchemy(f"sqlite:///{store.parent / 'pipeline.sqlite'}"),
    dataset_name="charging",
    pipelines_dir=str(store.parent / "pipelines"),
)
pipeline.run(source)
# The destination keeps each dataset in a file of its own, beside the one that it is given.
(store.parent / "pipeline__charging.sqlite").rename(store)
