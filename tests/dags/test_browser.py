"""People look at the pages: under a real Airflow, in a real browser, with what the project's own steps came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from deploy.local.api import Api
from deploy.local.preflight import free_port
from ml.config import Config, load
from ml.config.release import Release as Plan
from ml.ledger.ledger import Ledger
from ml.ledger.releases import Release
from ml.quality import quarantine
from tests.dags import browsing
from tests.dags.browsing import HEIGHT, LAST_NIGHT, PASSWORD, PATIENCE, WIDTHS, Server, Visit, framed, visit
from tests.dags.releasing import APPROVED
from tests.monitoring.living import night

PAGES = ("model", "drift", "data", "requests", "replay")
DESK, HAND = WIDTHS
LOOKS = [
    ("light", DESK),
    ("dark", HAND),
    *(pytest.param(theme, width, marks=pytest.mark.proof) for theme, width in (("dark", DESK), ("light", HAND))),
]
DOCUMENTS = [
    ("light", "card/3"),
    ("dark", "exploration/3"),
    *(pytest.param(theme, place, marks=pytest.mark.proof) for theme, place in (("dark", "card/3"), ("light", "exploration/3"))),
]
expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture(scope="module")
def config(four_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment with a story."""
    return load(browsing.story(four_versions, tmp_path_factory.mktemp("story")))


@pytest.fixture(scope="module")
def airflow(config: Config) -> Iterator[str]:
    """The address of Airflow's web server."""
    server = Server(config.home.parent / "deployment.yaml", free_port())
    server.wait()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browsing.chromium())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def logins(airflow: str, browser: Browser) -> dict[str, dict[str, Any]]:
    """The cookies of each person, once they have filled in the form."""
    return {name: browsing.logged_in(browser, airflow, name) for name in browsing.ROLES}


@pytest.fixture
def seen_by(airflow: str, browser: Browser, logins: dict[str, dict[str, Any]]) -> Iterator[Callable[[str], Visit]]:
    """Opens a window for a person."""
    opened = []

    def open_for(name: str) -> Visit:
        window = visit(browser, airflow, logins[name])
        opened.append(window)
        return window.__enter__()

    yield open_for
    for window in opened:
        window.__exit__(None, None, None)


def _at(config: Config, place: str) -> str:
    return f"/perennial/deployments/{config.name}/{place}"


@pytest.fixture(scope="module")
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for what the browser shows."""
    asked = request.config.getoption("--pictures")
    return Path(asked) if asked else tmp_path_factory.mktemp("pictures")


@pytest.mark.parametrize(("theme", "width"), LOOKS)
@pytest.mark.parametrize("page", PAGES)
def test_each_page_is_for_everybody_in_light_and_dark_on_a_desk_and_in_a_hand(
    airflow: str,
    config: Config,
    browser: Browser,
    logins: dict[str, dict[str, Any]],
    pictures: Path,
    page: str,
    theme: str,
    width: int,
) -> None:
    with visit(browser, airflow, logins["ann"], width, theme) as seen:
        answer = seen.page.goto(_at(config, page))
        assert answer is not None
        assert answer.ok
        expect(seen.page.locator("h1")).to_be_visible()
        if (theme, width) == ("light", DESK):
            seen.page.screenshot(path=pictures / f"{page}.png")
        seen.page.screenshot(path=pictures / f"{page}-{theme}-{width}.png", full_page=True)
        assert seen.overflow() <= 0
        assert seen.violations() == []
        assert seen.wrong == []


@pytest.mark.parametrize(("theme", "place"), DOCUMENTS)
def test_cards_and_explorations_keep_nobody_out(
    airflow: str, config: Config, browser: Browser, logins: dict[str, dict[str, Any]], pictures: Path, place: str, theme: str
) -> None:
    with visit(browser, airflow, logins["eve"], theme=theme) as seen:
        text = seen.page.request.get(_at(config, place)).text()
        # As it is served, no script may run on it, and axe-core is one.
        seen.page.set_content(text)
        seen.page.screenshot(path=pictures / f"{place.replace('/', '-')}-{theme}.png", full_page=True)
        assert seen.violations() == []
        assert seen.overflow() <= 0


def test_airflow_leads_to_each_page_and_shows_it_in_its_own_theme(seen_by: Callable[[str], Visit]) -> None:
    page = seen_by("eve").page
    page.goto("/plugin/perennial-model")
    expect(framed(page).locator("h1")).to_have_text("Version 2 is champion")
    page.goto("/dags/monitor/plugin/perennial-dag")
    frame = framed(page)
    assert frame.url.endswith("/drift")
    theme = page.evaluate("document.documentElement.className")
    assert frame.evaluate("document.documentElement.dataset.theme") in theme


def test_a_run_has_a_tab_with_the_page_of_its_work(airflow: str, seen_by: Callable[[str], Visit]) -> None:
    with Api(airflow, "ann", PASSWORD) as api:
        run = api.trigger("monitor", {"as_of": night(LAST_NIGHT).isoformat()})
    page = seen_by("eve").page
    page.goto(f"/dags/monitor/runs/{quote(run, safe='')}")
    page.get_by_role("link", name="Model's story").click()
    expect(framed(page).locator("h1")).to_have_text("The data have drifted")


def test_the_dashboard_has_each_model_at_a_glance(seen_by: Callable[[str], Visit], pictures: Path) -> None:
    seen = seen_by("eve")
    seen.page.goto("/")
    card = seen.page.get_by_test_id("perennial-card")
    expect(card).to_contain_text("version 2")
    expect(card).to_contain_text("CONFIRMED")
    seen.page.screenshot(path=pictures / "dashboard.png")
    card.get_by_role("link").click()
    expect(framed(seen.page).locator("h1")).to_have_text("Version 2 is champion")


def test_a_newcomer_finds_every_answer_within_two_clicks(config: Config, seen_by: Callable[[str], Visit]) -> None:
    answers = {
        "Model": ["Version 2 is champion", "the newest merchants are in it"],
        "Drift": ["The data have drifted", "amount"],
        "Data": ["waits for a person", "amount"],
    }
    page = seen_by("eve").page
    for name, told in answers.items():
        page.goto("/")
        page.get_by_role("link", name="Model", exact=True).first.click()
        frame = framed(page)
        if name != "Model":
            frame.get_by_role("link", name=name, exact=True).click()
            frame.wait_for_url(f"**/{name.lower()}")
        for words in told:
            expect(frame.get_by_text(words).first).to_be_visible()


@pytest.mark.parametrize("name", ["eve"])
def test_who_may_not_decide_has_no_buttons(config: Config, seen_by: Callable[[str], Visit], name: str) -> None:
    page = seen_by(name).page
    for place in PAGES:
        page.goto(_at(config, place))
        assert page.locator("form").count() == 0


def _press(seen: Visit, opens: str, button: str, reason: str) -> None:
    """Open what holds a form, write a reason, and press its button."""
    seen.page.get_by_text(opens).click()
    form = seen.page.locator("form", has=seen.page.get_by_role("button", name=button))
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button").click()


def test_a_person_agrees_to_a_release_and_the_ledger_has_the_name(config: Config, seen_by: Callable[[str], Visit]) -> None:
    told = Release(
        model=config.name,
        version="3",
        champion="2",
        judgement="j",
        hashes={},
        plan=Plan.model_validate(APPROVED).model_dump(mode="json"),
        expected={"log_odds": [0.0] * 101},
        as_of=night(LAST_NIGHT),
        actor="scheduler",
        reason="it is better",
        run_id="r",
    )
    Ledger(config.ledger).releases.begin(told)
    seen = seen_by("oli")
    seen.page.goto(_at(config, "model"))
    _press(seen, "Agree to the next step", "Agree to the next step of the release", "I have read the card")
    expect(seen.page.get_by_text("approved").first).to_be_visible()
    assert seen.page.url.endswith("#release")
    (course,) = Ledger(config.ledger).releases.all(config.name)
    assert [(move.word, move.actor, move.reason) for move in course.moves] == [("approved", "oli", "I have read the card")]
    _press(seen, "End the release", "End the release", "enough seen")
    expect(seen.page.locator("#release")).to_have_count(0)
    assert seen.wrong == []


def test_a_person_steps_back_and_the_page_and_the_ledger_follow(config: Config, seen_by: Callable[[str], Visit]) -> None:
    seen = seen_by("ann")
    seen.page.goto(_at(config, "model"))
    _press(seen, "One step back, to version 1", "Roll back to version 1", "it alerts too much")
    expect(seen.page.locator("h1")).to_have_text("Version 1 is champion")
    move = Ledger(config.ledger).moves.history(config.name)[-1]
    assert (move.action, move.to_version, move.actor, move.reason) == ("rollback", "1", "ann", "it alerts too much")
    assert seen.wrong == []


def test_rows_are_checked_again_when_a_person_asks(config: Config, seen_by: Callable[[str], Visit]) -> None:
    seen = seen_by("ann")
    seen.page.goto(_at(config, "data"))
    form = seen.page.locator("#quarantine details[open] form")
    form.get_by_label("Reason").fill("the suite was wrong")
    form.get_by_role("button").click()
    seen.page.wait_for_url("**/data#quarantine")
    (row,) = quarantine.rows_of(config, next(each.batch_id for each in quarantine.summary(config) if each.open))
    assert [(tried.actor, tried.reason, tried.outcome) for tried in row.attempts] == [
        ("ann", "the suite was wrong", "quarantined")
    ]
    assert seen.wrong == []


def test_a_person_asks_for_a_training(config: Config, seen_by: Callable[[str], Visit]) -> None:
    seen = seen_by("oli")
    seen.page.goto(_at(config, "requests"))
    form = seen.page.locator("form")
    form.get_by_label("Reason").fill("a new merchant")
    form.get_by_role("button").click()
    expect(seen.page.get_by_text("a new merchant")).to_be_visible()
    asked = [each for each in Ledger(config.ledger).requests.all(config.name) if each.trigger == "on_demand"]
    assert (asked[-1].requested_by, asked[-1].reason) == ("oli", "a new merchant")
    assert seen.wrong == []


def test_pictures_are_as_wide_as_the_window(pictures: Path) -> None:
    from matplotlib.image import imread

    shapes = {path.name: imread(path).shape for path in pictures.glob("model-*.png")}
    assert shapes
    assert all(shape[1] == int(name.removesuffix(".png").rpartition("-")[2]) for name, shape in shapes.items())
    assert all(shape[0] >= HEIGHT for shape in shapes.values())
