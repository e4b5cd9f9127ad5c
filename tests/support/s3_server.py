"""An S3 server in a process of its own: `python s3_server.py` prints its URL and ends when its input does."""

from __future__ import annotations

import atexit
import subprocess
import sys
import threading
import uuid
from functools import cache

BUCKET = "framelode-test"
ACCOUNT = {"key": "test", "secret": "test"}


@cache
def s3_url():
    """Return the URL of the server, started when it is first needed; its bucket is there."""
    import boto3
    import botocore.session

    # Each client would look for the description of S3 and read it again, which takes longer than most tests.
    botocore.session.create_loader = cache(botocore.session.create_loader)
    command = [sys.executable, "-W", "ignore", __file__]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    atexit.register(process.communicate)
    url = process.stdout.readline().strip()
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCOUNT["key"],
        aws_secret_access_key=ACCOUNT["secret"],
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    return url


def s3_environment(url=None):
    """Return the variables that lead boto to the server and to nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": ACCOUNT["key"],
        "AWS_SECRET_ACCESS_KEY": ACCOUNT["secret"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": url or s3_url(),
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@cache
def s3_filesystem(keeps_listings=False):
    """Return a filesystem on the server."""
    import s3fs

    return s3fs.S3FileSystem(
        **ACCOUNT,
        endpoint_url=s3_url(),
        client_kwargs={"region_name": "us-east-1"},
        use_listings_cache=keeps_listings,
        skip_instance_cache=True,
    )


def s3_prefix():
    """Return the URL of a prefix that nobody else uses."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def _serve():
    from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log_request(self, *_):
            """Log nothing: nobody would read it."""

    # moto's own server looks for the service of each request among two hundred, which takes longer than to answer it.
    server = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    _serve()
