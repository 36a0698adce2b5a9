"""Pages in Airflow's web UI that tell the model's story: Model, Drift, Data, Requests and Replay, and the dashboard's card.

Every process of Airflow loads this file, and only the API server answers requests; so the pages are imported by the first
request, and this file imports next to nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/perennial"
VIEWS = {"model": "Model", "drift": "Drift", "data": "Data", "requests": "Requests", "replay": "Replay"}


class Pages:
    """The pages as an ASGI application that is made when it is first asked."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._app is None:
            self._app = await asyncio.to_thread(_made)
        await self._app(scope, receive, send)


def _made() -> Any:
    from perennial_web.app import create_app

    return create_app()


class PerennialPages(AirflowPlugin):
    """The pages under `/perennial`, a view of each in the navigation, a tab on each DAG and run, and the dashboard's card."""

    name = "perennial_pages"
    fastapi_apps = [{"app": Pages(), "url_prefix": PREFIX, "name": "Perennial"}]  # noqa: RUF012  Airflow's own form
    external_views = [  # noqa: RUF012
        *[
            {
                "name": title,
                "href": f"{PREFIX.strip('/')}/{page}",
                "destination": "nav",
                "url_route": f"perennial-{page}",
                "nav_top_level": page == "model",  # the others stand in the menu of the plugins, and on top of each page
            }
            for page, title in VIEWS.items()
        ],
        {
            "name": "Model's story",
            "href": f"{PREFIX.strip('/')}/dags/{{DAG_ID}}",
            "destination": "dag",
            "url_route": "perennial-dag",
        },
        {
            "name": "Model's story",
            "href": f"{PREFIX.strip('/')}/dags/{{DAG_ID}}",
            "destination": "dag_run",
            "url_route": "perennial-run",
        },
    ]
    react_apps = [  # noqa: RUF012
        {
            "name": "PerennialModels",
            "bundle_url": f"{PREFIX.strip('/')}/dashboard.js",
            "destination": "dashboard",
            "url_route": "perennial-models",
        }
    ]
