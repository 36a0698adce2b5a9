"""Fills the templates. Whatever they are given is escaped, and control characters are shown; a `Drawing` alone is markup.

Example: a name that is markup is text, and a tone colours a word.
    >>> environment().from_string("{{ name }}").render(name="<b>")
    '&lt;b&gt;'
    >>> tone("CONFIRMED"), tone("passed"), tone("KEEP")
    ('bad', 'good', 'quiet')
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.config import Config
from ml.explanation.document import Drawing, between, brief, count, number, share, signed
from ml.pages.reader import Reader
from ml.quality.report import printable

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent / "templates"
PAGES = {"model": "Model", "drift": "Drift", "data": "Data", "requests": "Requests", "replay": "Replay"}
TONES = {
    "good": ("PROMOTE", "OK", "passed", "started", "advanced", "finished", "approved", "in time", "accepted", "champion"),
    "warn": ("INCONCLUSIVE", "WARN", "unknown", "waits", "held", "open", "quarantined", "quarantine", "rollback"),
    "bad": ("CONFIRMED", "vetoed", "failed", "stepped back", "stopped", "expired", "LATE", "rejected", "stop"),
}


def page(name: str, config: Config, reader: Reader, **values: Any) -> str:
    """One of `PAGES` of a deployment.

    Args:
        values: what its template shows.
    """
    template = environment().get_template(f"{name}.html")
    return template.render(here=name, pages=PAGES, config=config, reader=reader, **values)


def bare(name: str, reader: Reader | None = None, **values: Any) -> str:
    """A page that belongs to no deployment."""
    return environment().get_template(f"{name}.html").render(here="", pages={}, config=None, reader=reader, **values)


def policy() -> str:
    """The content security policy of every page: its own style, its own script, pictures of its own address, and its forms."""
    digest = base64.b64encode(hashlib.sha256(_text("page.js").encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; img-src 'self' data:; script-src 'sha256-{digest}'"
    return f"default-src 'none'; {allowed}; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"


@cache
def environment() -> Environment:
    """The templates with what they may call."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        if isinstance(value, Drawing):
            return Markup(value.svg)  # noqa: S704
        return value if hasattr(value, "__html__") else printable(str(value))

    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "signed": signed, "count": count, "share": share, "brief": brief, "between": between}
    made.filters |= {"rows": rows, "when": when, "day": day, "tone": tone}
    made.globals |= {"style": Markup(_text("page.css")), "script": Markup(_text("page.js"))}  # noqa: S704
    return made


def tone(word: str) -> str:
    """Whether a word of the ledger is `good`, `warn`, `bad` or neither (`quiet`)."""
    return next((name for name, words in TONES.items() if word in words), "quiet")


def when(instant: dt.datetime | None) -> str:
    """An instant to the minute, in UTC."""
    return "–" if instant is None else f"{instant:%Y-%m-%d %H:%M}"


def rows(number: int) -> str:
    """A number of rows, with its word.

    >>> rows(1), rows(1234)
    ('1 row', '1,234 rows')
    """
    return f"{count(number)} row{'' if number == 1 else 's'}"


def day(date: dt.date | None) -> str:
    """A day in words.

    >>> day(dt.date(2025, 5, 4))
    'Sun 4 May 2025'
    """
    return "–" if date is None else f"{date:%a} {date.day} {date:%b %Y}"


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text()
