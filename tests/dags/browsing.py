"""Airflow with a deployment that has a story, and a browser in which people look at its pages."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Frame, Page

from deploy.local.environment import environment, shared_secrets, write_private
from ml.config import PROJECT, Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.simulate.feed import write_until
from ml.training import fit
from tests import deployments
from tests.conftest import command
from tests.monitoring.living import night

PATIENCE = 180
"""Seconds until something that has to appear counts as missing: a machine that runs other tests is slow."""
SERVE = """
import sys
from airflow.__main__ import main
for words in (["db", "migrate"], ["dags", "reserialize"], ["api-server"]):
    sys.argv = ["airflow", *words]
    main()
"""
ONE = dt.timedelta(days=1)
ROLES = {"eve": "viewer", "oli": "op", "ann": "user"}
"""Who looks, and may not act; who operates Airflow; and who may edit DAGs, and so decides about models."""
PASSWORD = "a password of the tests"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 400)
HEIGHT = 900
SERIOUS = ("serious", "critical")
SINCE = 4
"""The first night after those of the four versions; on the day before it amounts have risen, and a payment is impossible."""
LAST_NIGHT = SINCE + 1


def story(four_versions: Path, folder: Path) -> Path:
    """The file of a deployment with a story; each part of it is what the project's own steps came to.

    Four versions were trained on four nights; a person has put the second one in place of the first. Then amounts rise,
    monitoring confirms it after two days, and a payment waits in quarantine.
    """
    told = yaml.safe_load(four_versions.read_text())
    shutil.copytree(load(four_versions).home, folder / "home")
    told["feed"]["drift"] = [{"name": "amount_shift", "day": night(SINCE - 1).date(), "factor": 1.6}]
    path = deployments.write(folder, told)
    config = load(path)
    _promote(config, "2")
    for number in range(SINCE, LAST_NIGHT + 1):
        write_until(config, (night(number) - ONE).date())
        if number == SINCE:
            deployments.spoil_newest(config)
        command(path, night(number), "ingest")
    command(path, night(LAST_NIGHT), "monitor")
    return path


def _promote(config: Config, version: str) -> None:
    ledger = Ledger(config.ledger)
    (judged,) = [each for each in ledger.decisions.all(config.name) if each.challenger_version == version]
    ledger.moves.make(
        Move(
            model=config.name,
            action="promote",
            expected_from=ledger.moves.champion(config.name),
            to_version=version,
            as_of=judged.as_of,
            actor="ann",
            reason="the newest merchants are in it",
            verdict=judged.evidence,
            run_id=judged.run_id,
            hashes=fit.registry(config).digests(version),
        )
    )


class Server:
    """Airflow's web server for a deployment: its database, its DAGs and its plugins, and nothing that runs a task."""

    def __init__(self, path: Path, port: int) -> None:
        self.url, self._log = f"http://127.0.0.1:{port}", path.parent / "airflow.log"
        config = load(path)
        environ = with_people(config.home, path, port, PROJECT / "dags", "Perennial")
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", SERVE]
            self._process = subprocess.Popen(command, env=environ, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True)

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            assert time.monotonic() < deadline, f"no answer after {PATIENCE} s: {self._log.read_text()[-4000:]}"
            time.sleep(0.3)

    def stop(self) -> None:
        """End it with all of its processes."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(timeout=60)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v2/version", timeout=120, trust_env=False).is_success
        except httpx.TransportError:
            return False


def with_people(*arguments: Any) -> dict[str, str]:
    """The variables of a stack at which not only its administrator can log in."""
    found = environment(*arguments)
    home = Path(found["AIRFLOW_HOME"])
    passwords = {"admin": shared_secrets(home).password} | dict.fromkeys(ROLES, PASSWORD)
    write_private(home / "passwords.json", json.dumps(passwords))
    users = ",".join(f"{name}:{role}" for name, role in {"admin": "admin", **ROLES}.items())
    return found | {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users}


def chromium() -> str:
    """The browser's program."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, "there is no Chromium; `make browser` installs Debian's, or name one: CHROMIUM=/path/to/chrome make test"
    return found


@dataclass
class Visit:
    """A page of the browser, and what went wrong on it: errors in the console and scripts that ended in one."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def violations(self) -> list[str]:
        """What axe-core finds that keeps people out."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
            for each in found
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@contextmanager
def visit(
    browser: Browser, url: str, login: dict[str, Any] | None, width: int = WIDTHS[0], theme: str = "light"
) -> Iterator[Visit]:
    """A window of a browser with the cookies of a login."""
    context: BrowserContext = browser.new_context(
        base_url=url,
        storage_state=login,  # type: ignore[arg-type]
        viewport={"width": width, "height": HEIGHT},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(1000 * PATIENCE)
    try:
        yield Visit(context.new_page())
    finally:
        context.close()


def logged_in(browser: Browser, url: str, name: str) -> dict[str, Any]:
    """The cookies of a person who has filled in Airflow's form."""
    with visit(browser, url, None) as seen:
        seen.page.goto("/")
        seen.page.fill("input[name=username]", name)
        seen.page.fill("input[name=password]", PASSWORD)
        seen.page.click("button[type=submit]")
        seen.page.wait_for_url(lambda address: "/auth/" not in address)
        return dict(seen.page.context.storage_state())


def framed(page: Page) -> Frame:
    """The frame in which Airflow shows a page of the project."""
    page.wait_for_selector("iframe")
    handle = page.query_selector("iframe")
    frame = handle.content_frame() if handle else None
    assert frame is not None
    frame.wait_for_selector("h1")
    return frame
