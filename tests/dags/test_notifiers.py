"""Messages reach people through Airflow's own notifiers and connections, on real servers of this machine."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller

from ml.config import PROJECT, Config, ConfigError, load
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from tests import deployments

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
SECRET = "T0SECRET/B0SECRET"
HOSTILE = "x<!channel> <b>&\"' {{ 7 * 7 }} {{ conn.mail.password }} https://evil.example\n*a* \x1b[31m.csv"


class Server:
    """An HTTP server that remembers what it was sent; it answers with `status`, and a redirect leads to its own front page."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                self.answer(outer.status)

            def answer(self, status: int) -> None:
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/login")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def bodies(self) -> list[Any]:
        return [body for *_, body in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mailbox:
    """What a mail server was handed."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    slack = {"conn_type": "slackwebhook", "schema": "http", "host": server.url, "password": SECRET}
    hook = {"conn_type": "http", "host": f"{server.url}/hook", "extra": {"Authorization": "Bearer hush"}}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_OPS", json.dumps(slack))
    monkeypatch.setenv("AIRFLOW_CONN_INCIDENTS", json.dumps(hook))
    yield server
    server.close()


@pytest.fixture
def mailbox(free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port)
    server.start()
    plain = {"disable_tls": True, "disable_ssl": True, "from_email": "perennial@bank.example", "retry_limit": 0}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": free_port, "extra": plain}
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps(connection))
    yield box
    server.stop()


@pytest.fixture(autouse=True)
def _airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins are found as Airflow finds them, pages have addresses, and logging is set up before a test reads it."""
    import airflow.settings  # noqa: F401

    monkeypatch.syspath_prepend(PROJECT / "plugins")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.bank.example/prod/")
    monkeypatch.setenv("PERENNIAL_MLFLOW_URL", "https://mlflow.bank.example")


SLACK: dict[str, Any] = {"to": "slack", "connection": "slack_ops"}
EMAIL: dict[str, Any] = {"to": "email", "connection": "mail", "recipients": ["ann@bank.example", "bo@bank.example"]}
WEBHOOK: dict[str, Any] = {"to": "webhook", "connection": "incidents"}


def deployment(folder: Path, *channels: dict[str, Any]) -> Config:
    """The small deployment with these channels."""
    return load(deployments.write(folder, deployments.small_told() | {"notifications": list(channels)}))


def post(config: Config, key: str = "k", **told: Any) -> None:
    """Post a message; a verdict unless told otherwise."""
    common = {"event": "verdict", "text": "Version 3 stays out.", "figure": "average precision +0.01", "as_of": AS_OF}
    Ledger(config.ledger).messages.post(Message(model=config.name, key=key, **(common | told)))  # type: ignore[arg-type]


def send(config: Config) -> dict[str, int]:
    from perennial_notifiers import send_messages

    return send_messages(config)


def refused(config: Config) -> str:
    """What a send that does not reach everybody fails with."""
    from perennial_notifiers import NotSent

    with pytest.raises(NotSent) as caught:
        send(config)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def test_every_channel_is_told_what_happened_the_figure_and_where_to_look(
    tmp_path: Path, web: Server, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    config = deployment(tmp_path, {"to": "log"}, SLACK, EMAIL, WEBHOOK)
    post(config, process="train", run_id="manual__2025-05-02T02:00:00+00:00/é", version="3")
    link = "https://airflow.bank.example/prod/dags/train/runs/manual__2025-05-02T02%3A00%3A00%2B00%3A00%2F%C3%A9"
    with caplog.at_level(logging.INFO):
        assert set(send(config).values()) == {1}
    assert f"card_fraud: verdict | Version 3 stays out. | average precision +0.01 | {link}" in caplog.text
    slack, hook = web.requests
    assert slack[1] == f"/{SECRET}"
    assert slack[3]["text"] == "*card_fraud: verdict*\nVersion 3 stays out.\naverage precision +0.01"
    assert [block["text"]["text"] for block in slack[3]["blocks"]] == [slack[3]["text"], f"<{link}|Open the page>"]
    assert (hook[0], hook[1], hook[2]["Authorization"]) == ("POST", "/hook", "Bearer hush")
    told = {"key": "k", "model": "card_fraud", "event": "verdict", "text": "Version 3 stays out."}
    told |= {"figure": "average precision +0.01", "as_of": AS_OF.isoformat(), "version": "3", "link": link}
    assert hook[3] == told
    (mail,) = mailbox.mails
    assert mail["Subject"] == "card_fraud: verdict: Version 3 stays out."
    assert (mail["From"], mailbox.recipients) == ("perennial@bank.example", [EMAIL["recipients"]])
    page = mail.get_body(("html",)).get_content()
    assert f'<p>average precision +0.01</p><p><a href="{link}">Open the page</a></p>' in page


def test_a_message_without_a_run_leads_to_the_version_and_one_without_either_nowhere(tmp_path: Path, web: Server) -> None:
    config = deployment(tmp_path, WEBHOOK, SLACK)
    post(config, "rollback", event="rollback", version="2")
    post(config, "late", event="missed deadline", figure="")
    send(config)
    version = "https://mlflow.bank.example/#/models/card_fraud/versions/2"
    assert [body["link"] for body in web.bodies if "link" in body] == [version, ""]
    assert [len(body["blocks"]) for body in web.bodies if "blocks" in body] == [2, 1]


def test_what_comes_from_data_is_text_in_every_channel(
    tmp_path: Path, web: Server, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    """No mention, no markup, no template, no header and no terminal code."""
    config = deployment(tmp_path, SLACK, EMAIL, WEBHOOK, {"to": "log"})
    post(config, event="stopped batch", text=HOSTILE, figure="<i>1</i>")
    with caplog.at_level(logging.INFO):
        send(config)
    shown = HOSTILE.replace("\n", "\\n").replace("\x1b", "\\x1b")
    slack, hook = web.bodies
    assert (hook["text"], hook["figure"]) == (shown, "<i>1</i>")
    (block,) = slack["blocks"]
    escaped = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert block["text"]["text"] == slack["text"] == f"*card_fraud: stopped batch*\n{escaped}\n&lt;i&gt;1&lt;/i&gt;"
    assert block["text"]["verbatim"] is True
    (mail,) = mailbox.mails
    assert mail["Subject"] == f"card_fraud: stopped batch: {shown}"
    page = mail.get_body(("html",)).get_content()
    assert "&lt;b&gt;&amp;&quot;&#x27; {{ 7 * 7 }} {{ conn.mail.password }}" in page
    assert "<b>" not in page
    assert "\x1b" not in caplog.text


def test_a_long_message_is_cut_to_what_every_channel_takes(tmp_path: Path, web: Server) -> None:
    config = deployment(tmp_path, SLACK)
    post(config, text="<" * 5000, figure="&" * 5000)
    send(config)
    assert len(web.bodies[0]["blocks"][0]["text"]["text"]) <= 3000
    assert "&lt;…" in web.bodies[0]["text"]


def test_a_message_is_sent_once_and_the_oldest_first(tmp_path: Path, web: Server) -> None:
    config = deployment(tmp_path, WEBHOOK)
    for key in "cab":
        post(config, key)
        post(config, key)
    assert send(config) == {"webhook incidents": 3}
    assert send(config) == {"webhook incidents": 0}
    assert [body["key"] for body in web.bodies] == ["c", "a", "b"]


def test_a_channel_gets_the_events_that_it_is_configured_for(tmp_path: Path, web: Server) -> None:
    config = deployment(tmp_path, WEBHOOK | {"events": ["drift", "rollback"]})
    for event in ("verdict", "drift", "promotion", "rollback"):
        post(config, event, event=event)
    send(config)
    assert [body["event"] for body in web.bodies] == ["drift", "rollback"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_channel_that_refuses_gets_its_messages_later_and_the_others_get_theirs_once(
    tmp_path: Path, web: Server, mailbox: Mailbox, status: int
) -> None:
    config = deployment(tmp_path, WEBHOOK, EMAIL)
    post(config, "a")
    post(config, "b")
    web.status = status
    assert refused(config).startswith("webhook incidents lacks 2 of 2: the log says why")
    assert len(mailbox.mails) == 2
    web.status, web.requests = 200, []
    assert send(config) == {"webhook incidents": 2, "email mail ann@bank.example bo@bank.example": 0}
    assert [body["key"] for body in web.bodies] == ["a", "b"]
    assert len(mailbox.mails) == 2


def test_a_channel_that_is_down_is_left_alone_after_some_refusals(tmp_path: Path, web: Server) -> None:
    config = deployment(tmp_path, WEBHOOK)
    for number in range(9):
        post(config, str(number))
    web.status = 500
    assert "lacks 9 of 9" in refused(config)
    assert len(web.requests) == 3


def test_one_message_that_a_channel_dislikes_holds_no_other_up(
    tmp_path: Path, web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import perennial_notifiers
    from airflow.sdk import BaseNotifier

    class Picky(BaseNotifier):
        """Takes what a webhook takes, but for one."""

        def notify(self, context: Any) -> None:
            raise ValueError("not this one")

    real = perennial_notifiers._notifier
    monkeypatch.setattr(perennial_notifiers, "_notifier", lambda n, m: Picky() if m.key == "b" else real(n, m))
    config = deployment(tmp_path, WEBHOOK)
    for key in "abc":
        post(config, key)
    assert "lacks 1 of 3" in refused(config)
    assert [body["key"] for body in web.bodies] == ["a", "c"]


def test_a_channel_that_nobody_answers_on_says_why_and_no_secret(
    tmp_path: Path, free_port: int, web: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hook = {"conn_type": "http", "host": f"http://127.0.0.1:{free_port}/{SECRET}", "login": "me", "password": "hush"}
    slack = {"conn_type": "slackwebhook", "password": f"http://127.0.0.1:{free_port}/{SECRET}"}
    mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": free_port, "extra": {"disable_ssl": True, "retry_limit": 0}}
    for name, connection in (("INCIDENTS", hook), ("SLACK_OPS", slack), ("MAIL", mail)):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    config = deployment(tmp_path, SLACK, EMAIL, WEBHOOK)
    post(config)
    told = refused(config)
    ours = [record.getMessage() for record in caplog.records if record.name == "perennial_notifiers"]
    assert [line.split(":")[0] for line in ours] == [
        "slack slack_ops did not take message 1 (verdict)",
        "email mail ann@bank.example bo@bank.example did not take message 1 (verdict)",
        "webhook incidents did not take message 1 (verdict)",
    ]
    assert all("Connection refused" in line for line in ours)
    assert not [line for line in (*ours, told) if "SECRET" in line or "hush" in line]


def test_a_connection_that_is_not_there_is_named(tmp_path: Path, web: Server, caplog: pytest.LogCaptureFixture) -> None:
    config = deployment(tmp_path, WEBHOOK | {"connection": "nobody"}, SLACK)
    post(config)
    assert refused(config).startswith("webhook nobody lacks 1 of 1:")
    assert "The conn_id `nobody` isn't defined" in caplog.text
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        ([{"to": "pager"}], "notifications.0.to: Input should be 'log', 'slack', 'email' or 'webhook'"),
        ([{"to": "slack"}], "'connection' is missing: name the Airflow connection of slack"),
        ([EMAIL | {"recipients": []}], "'recipients' belong to 'email', which needs them"),
        ([SLACK | {"recipients": ["ann@bank.example"]}], "'recipients' belong to 'email', which needs them"),
        ([SLACK | {"events": []}], "notifications.0.events: List should have at least 1 item"),
        ([SLACK | {"events": ["rain"]}], "notifications.0.events.0: Input should be 'stopped batch'"),
        ([SLACK, SLACK | {"events": ["drift"]}], "notifications: 'slack slack_ops' is listed twice"),
    ],
)
def test_a_channel_that_cannot_work_is_named_before_anything_runs(
    tmp_path: Path, channels: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        deployment(tmp_path, *channels)
    assert told in str(caught.value)


def test_the_examples_in_the_demos_file_are_channels_once_their_marks_are_taken_off(tmp_path: Path) -> None:
    lines = (PROJECT / "config" / "demo.yaml").read_text().splitlines()
    start = lines.index("# notifications:")
    block = []
    for line in lines[start:]:
        if not line.startswith("# "):
            break
        block.append(line.removeprefix("# "))
    config = deployment(tmp_path, *yaml.safe_load("\n".join(block))["notifications"])
    assert {notification.to for notification in config.notifications} == {"log", "slack", "email", "webhook"}
