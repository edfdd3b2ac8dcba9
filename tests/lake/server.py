"""An object store on loopback, in memory, with an empty bucket; and another client of it.

usage: server.py serve | server.py fetch ADDRESS
"""

import logging
import pathlib
import sys
import threading

import boto3

BUCKET = "bucket"


def client(address):
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="eu-central-1",
        aws_access_key_id="not-an-id",
        aws_secret_access_key="not-a-secret",
    )


def serve():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    client(address).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    print(address, flush=True)
    threading.Event().wait()


def fetch(address):
    store = client(address)
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="some/"):
        for object in page.get("Contents", []):
            place = pathlib.Path(object["Key"].removeprefix("some/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(BUCKET, object["Key"], str(place))


if sys.argv[1] == "serve":
    serve()
else:
    fetch(sys.argv[2])
