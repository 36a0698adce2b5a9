"""Who looks at a page, and what he may do there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _nowhere(process: str, run_id: str) -> str:
    return ""


@dataclass(frozen=True)
class Reader:
    """The person who looks, as the orchestrator knows him.

    Parameters:
        name: for the ledger.
        may_decide: whether he may move the champion, and end or agree to a release.
        may_readmit: whether he may let rows out of quarantine.
        may_ask: whether he may ask for a training.
        token: goes with every form, so that no other site can send one in his name.
        once: differs with every page that is shown, so that a form that is sent twice counts once.
        run_link: address of a run in the orchestrator's pages, by process and run id; empty if there is none.
    """

    name: str
    may_decide: bool = False
    may_readmit: bool = False
    may_ask: bool = False
    token: str = ""
    once: str = ""
    run_link: Callable[[str, str], str] = _nowhere
