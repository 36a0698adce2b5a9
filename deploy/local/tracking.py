"""MLflow's pages for one deployment, in one process.

`mlflow server` keeps its command-line process beside the server (445 MB and 18 seconds of processor time, against 245 MB
and 10 this way) and starts a job runner that only its language-model features use.
"""

from __future__ import annotations

import argparse
import os

from deploy.local.preflight import HOST

STORE = "MLFLOW_BACKEND_STORE_URI"
"""Variable that a password is passed by, since an argument can be read by every process of the machine."""


def main() -> None:
    """Serve until ended; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.tracking", description=__doc__)
    store = os.environ.get(STORE)
    parser.add_argument("--store", default=store, required=not store, help=f"SQLAlchemy URL of MLflow's database (or {STORE})")
    parser.add_argument("--artifacts", required=True, help="folder or URI of the artifacts")
    parser.add_argument("--root", help="where clients find the artifacts of new experiments (default: in the folder itself)")
    parser.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    args = parser.parse_args()
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"

    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: args.store,
        constants.REGISTRY_STORE_URI_ENV_VAR: args.store,
        constants.ARTIFACT_ROOT_ENV_VAR: args.root or args.artifacts,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: args.artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    import uvicorn

    uvicorn.run("mlflow.server.fastapi_app:app", host=args.host, port=args.port, access_log=False)


if __name__ == "__main__":
    main()
