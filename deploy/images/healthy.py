"""Ask a server over HTTP whether it is well; the health check of every container here, without another program in the image.

    python deploy/images/healthy.py http://127.0.0.1:8000/readyz
    python deploy/images/healthy.py http://airflow-api-server:8080/api/v2/monitor/health scheduler

With names of components, the answer is Airflow's report, and each of them has to be healthy.
"""

from __future__ import annotations

import json
import sys
import urllib.request


def main(arguments: list[str]) -> str:
    """What is wrong; empty if nothing is."""
    url, *components = arguments
    try:
        with urllib.request.urlopen(url, timeout=8) as answer:  # noqa: S310  the addresses are those of docker-compose.yaml
            body = answer.read()
    except OSError as error:
        return f"{url}: {error}"
    report = json.loads(body) if components else {}
    sick = {name: report.get(name, {}).get("status") for name in components}
    return ", ".join(f"{name} is {status}" for name, status in sick.items() if status != "healthy")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) or 0)
