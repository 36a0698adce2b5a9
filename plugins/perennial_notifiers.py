"""Tells people what happened: every channel of the deployment file gets the messages that it lacks, by Airflow's notifiers.

A message counts as sent when the channel took it, so a channel may get one twice (the process died in between) and never
none. Nothing of a message is a template: its text comes from data, and a notifier that is called with a context would render
it with Jinja, so `notify` is called and not the notifier itself. Logins and addresses are Airflow's connections; of an error
only what can hold neither is sent.
"""

from __future__ import annotations

import html
import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier
from perennial_deployments import dag_id_of

if TYPE_CHECKING:
    from ml.config import Config
    from ml.config.monitoring import Notification
    from ml.ledger.messages import Messages, Posted

log = logging.getLogger(__name__)

TIMEOUT = 10  # seconds until a channel that does not answer counts as down
REFUSALS = 3  # in a row, until a channel is left alone to the next send; one message that it dislikes holds no other up
LENGTHS = {"text": 400, "figure": 100}  # characters; Slack takes 3000 in a block, and escaping makes five of one


class NotSent(RuntimeError):
    """Channels lack messages still; the next send tries again."""


class LogNotifier(BaseNotifier):
    """Writes a message into the log of the task that sends.

    :param text: the message.
    """

    def __init__(self, text: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def notify(self, context: Any) -> None:
        log.info("%s", self.text)


def send_messages(config: Config) -> dict[str, int]:
    """Send to every channel what it lacks, oldest first, and return by channel how many messages it took.

    Raises:
        NotSent: a channel did not take a message; all others have theirs.
    """
    from ml.ledger.ledger import Ledger

    messages = Ledger(config.ledger).messages
    sent: dict[str, int] = {}
    lacking = []
    for notification in config.notifications:
        channel = notification.channel
        messages.subscribe(config.name, channel, notification.wanted)
        unsent = messages.unsent(config.name, channel, notification.wanted)
        sent[channel] = _send(messages, notification, unsent)
        if sent[channel] < len(unsent):
            lacking.append(f"{channel} lacks {len(unsent) - sent[channel]} of {len(unsent)}")
    if lacking:
        raise NotSent(f"{'; '.join(lacking)}: the log says why; mend the connection or the channel, the next send tries again")
    return sent


def _send(messages: Messages, notification: Notification, unsent: list[Posted]) -> int:
    """Send messages to one channel until it has all, or refuses; returns how many it took."""
    taken = refusals = 0
    for message in unsent:
        try:
            _notifier(notification, message).notify({})
        except Exception as error:  # noqa: BLE001  a channel is anybody's server, so are its errors
            log.error("%s did not take message %d (%s): %s", notification.channel, message.id, message.event, _fault(error))
            refusals += 1
            if refusals == REFUSALS:
                break
            continue
        messages.delivered(message, notification.channel)
        taken, refusals = taken + 1, 0
    return taken


def _notifier(notification: Notification, message: Posted) -> BaseNotifier:
    """The notifier that tells one message to one channel."""
    head, text, figure, link = f"{message.model}: {message.event}", *_told(message), link_of(message)
    lines = [line for line in (text, figure) if line]
    if notification.to == "slack":
        from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

        message_text = "\n".join([f"*{_mrkdwn(head)}*", *map(_mrkdwn, lines)])
        # Verbatim: an address in a file's name is no link, and a name is nobody's mention.
        blocks = [{"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": message_text}}]
        if link:
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{_mrkdwn(link)}|{_PAGE}>"}})
        return SlackWebhookNotifier(
            slack_webhook_conn_id=notification.connection,
            text=message_text,
            blocks=blocks,
            unfurl_links=False,
            timeout=TIMEOUT,
        )
    if notification.to == "email":
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        body = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
        if link:
            body += f'<p><a href="{html.escape(link)}">{_PAGE}</a></p>'
        return SmtpNotifier(
            to=notification.recipients, subject=f"{head}: {text}"[:150], html_content=body, smtp_conn_id=notification.connection
        )
    if notification.to == "webhook":
        from airflow.providers.http.notifications.http import HttpNotifier

        told_as = {"key": message.key, "model": message.model, "event": message.event, "text": text, "figure": figure}
        told_as |= {"as_of": message.as_of.isoformat(), "version": message.version, "link": link}
        # A redirect would turn the message into a request for a page, which any login page answers.
        options = {"timeout": TIMEOUT, "max_redirects": 0}
        return HttpNotifier(http_conn_id=notification.connection, json=told_as, extra_options=options)
    return LogNotifier(" | ".join(filter(None, [head, *lines, link])))


_PAGE = "Open the page"


def link_of(message: Posted) -> str:
    """Airflow's page of the run, or MLflow's of the version where no run is named; empty without either."""
    from airflow.sdk.configuration import conf

    pages, mlflow = conf.get("api", "base_url", fallback=""), os.environ.get("PERENNIAL_MLFLOW_URL", "")
    if message.process and message.run_id and pages:
        dag_id = dag_id_of(message.model, message.process)
        return f"{pages.rstrip('/')}/dags/{quote(dag_id, safe='')}/runs/{quote(message.run_id, safe='')}"
    if message.version and mlflow:
        return f"{mlflow}/#/models/{quote(message.model, safe='')}/versions/{quote(message.version, safe='')}"
    return ""


def _told(message: Posted) -> list[str]:
    """Text and figure in one line each, of a length that every channel takes."""
    from ml.quality.report import printable

    lines = {name: printable(getattr(message, name)) for name in LENGTHS}
    return [line if len(line) <= LENGTHS[name] else f"{line[: LENGTHS[name] - 1]}…" for name, line in lines.items()]


def _mrkdwn(text: str) -> str:
    """The text with Slack's three control characters escaped (https://docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fault(error: BaseException) -> str:
    """What went wrong; errors of libraries that name the address they asked are named by their type and their cause alone."""
    from ml.quality.report import printable

    cause: BaseException | None = error
    while cause is not None:
        home = type(cause).__module__.split(".")[0]
        if home == "airflow" or (isinstance(cause, OSError) and home in ("builtins", "socket", "ssl", "smtplib")):
            return printable(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
