"""Who sees a page and who may act: Airflow's login and roles decide, by the DAG that the page is about.

An app of a plugin is open to everybody unless its routes say otherwise. A form goes with a token that is signed for the person
whom it was shown to: the login is a cookie, which a browser also sends along for pages of other ports of the same host. A
script that logs in by a header needs none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from perennial_deployments import Deployment, deployments

User = Annotated[BaseUser, Depends(get_user)]
DAG_OF_PAGE = {"model": "train", "drift": "monitor", "data": "ingest", "requests": "train", "replay": "train"}
SHOWN_FOR = 12 * 3600
"""Seconds for which a form can be sent."""
LARGEST = 16_384
"""Bytes of a form."""


def may(user: BaseUser, method: Literal["GET", "POST", "PUT"], dag_id: str, of_runs: bool = False) -> bool:
    """Whether a person may read (`GET`) or edit (`PUT`) a DAG, or with `of_runs` start one (`POST`)."""
    return bool(
        get_auth_manager().is_authorized_dag(
            method=method,
            access_entity=DagAccessEntity.RUN if of_runs else None,
            details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
            user=user,
        )
    )


def visible(user: BaseUser, page: str) -> list[Deployment]:
    """The deployments whose page a person may see."""
    return [each for each in deployments() if may(user, "GET", each.dag_id(DAG_OF_PAGE[page]))]


def opened(user: BaseUser, name: str, page: str) -> Deployment:
    """The deployment of a name, if the person may see this page of it.

    Raises:
        HTTPException: 404 for a name or a page that there is not, 403 for one that he may not see.
    """
    found = next((each for each in deployments() if each.config.name == name), None)
    if found is None or page not in DAG_OF_PAGE:
        raise HTTPException(404, f"there is no page {page!r} of a deployment {name!r}")
    if not may(user, "GET", found.dag_id(DAG_OF_PAGE[page])):
        raise HTTPException(403, f"your role may not read DAG {found.dag_id(DAG_OF_PAGE[page])}")
    return found


def token_of(user: BaseUser) -> str:
    """The token for the forms that a person is shown."""
    return str(_signer().dumps(user.get_id()))


async def form(request: Request, user: User) -> dict[str, str]:
    """The fields of a form that this person was shown.

    Raises:
        HTTPException: 403 for a form that another site sent, or without a token of this person; 413 for one that is too large.
    """
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "the form was sent by another site")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"a form has at most {LARGEST} bytes")
    fields = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    by_header = scheme.lower() == "bearer" and credentials.strip()
    if not by_header and not _is_of(fields.get("token", ""), user):
        raise HTTPException(403, "the form is too old or was not shown to you: open the page again")
    return fields


Form = Annotated[dict[str, str], Depends(form)]


def _is_of(token: str, user: BaseUser) -> bool:
    try:
        return bool(_signer().loads(token, max_age=SHOWN_FOR) == user.get_id())
    except BadSignature:
        return False


def _signer() -> Any:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="perennial pages")
