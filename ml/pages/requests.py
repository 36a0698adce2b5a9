"""The page Requests: who asked for a training, and what became of it."""

from __future__ import annotations

from ml.config import Config
from ml.overview.requests import requests
from ml.pages.reader import Reader
from ml.pages.render import page

REQUESTS = 60
"""Requests in the table, the newest."""


def requests_page(config: Config, reader: Reader) -> str:
    """The page as HTML."""
    return page("requests", config, reader, story=requests(config), most=REQUESTS)
