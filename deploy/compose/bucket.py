"""Make the bucket of `--profile s3`, once; a bucket that is there is left alone.

    python deploy/compose/bucket.py perennial

Address and login come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION. Needs nothing but Python.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

PATIENCE = 120
FIRST_REGION = "us-east-1"
"""The only one that a request for a bucket does not name."""
PLACE = "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
THERE = 409
"""Status of the answer when the bucket is there already."""


def signed(method: str, url: str, body: bytes, environ: Mapping[str, str], now: dt.datetime) -> dict[str, str]:
    """Headers of a request without query: version 4 of AWS's signatures.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    parts, region = urlsplit(url), environ.get("AWS_REGION", FIRST_REGION)
    moment, content = f"{now:%Y%m%dT%H%M%SZ}", hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": content, "x-amz-date": moment}
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    request = "\n".join([method, quote(parts.path), "", *lines, "", names, content])
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    key = f"AWS4{environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for word in scope.split("/"):
        key = _mac(key, word)
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    login = f"{environ['AWS_ACCESS_KEY_ID']}/{scope}"
    signature = f"AWS4-HMAC-SHA256 Credential={login}, SignedHeaders={names}, Signature={_mac(key, text).hex()}"
    return {name: value for name, value in headers.items() if name != "host"} | {"Authorization": signature}


def make(bucket: str, environ: Mapping[str, str], patience: float = PATIENCE) -> str:
    """Make a bucket as soon as the store answers; what to tell.

    Raises:
        OSError: the store refuses, or does not answer in time.
    """
    url, region = f"{environ['AWS_ENDPOINT_URL'].rstrip('/')}/{bucket}", environ.get("AWS_REGION", FIRST_REGION)
    body = b"" if region == FIRST_REGION else PLACE.format(region).encode()
    deadline = time.monotonic() + patience
    while True:
        headers = {"Content-Type": "application/xml"} | signed("PUT", url, body, environ, dt.datetime.now(dt.UTC))
        try:
            urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT"), timeout=10).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code == THERE:
                return f"bucket {bucket} is there"
            if error.code < 500 or time.monotonic() > deadline:
                raise
        except OSError:
            if time.monotonic() > deadline:
                raise
        else:
            return f"bucket {bucket} was made"
        time.sleep(1)


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


if __name__ == "__main__":
    print(make(sys.argv[1], os.environ))
