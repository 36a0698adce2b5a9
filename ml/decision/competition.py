"""Versions compete: each answers a fixed share of the traffic beside the champion, and all of them score every event.

Nothing is promoted by a competition. Whoever is better in it (`ml.overview.standings`) still has to pass the gate, and is
released in steps where the deployment says so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from ml.config import Config
from ml.errors import BadInput
from ml.ledger.competitions import Begun, Competition, CompetitionStop, Contest, NoCompetition
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.releases import ReleaseOpen
from ml.ledger.run import Run
from ml.model import copies
from ml.model import version as versions
from ml.training import fit

MOST = 50.0
"""Percent of the entities that versions beside the champion may answer together, so that it answers as many as all of them."""


def begin(
    config: Config, as_of: dt.datetime, shares: Mapping[str, float], until: dt.datetime, reason: str, run: Run
) -> Contest:
    """Let registered versions compete beside the champion; the same wish again is the same competition.

    Args:
        shares: percent of the entities that each version answers.
        until: events that happen from then on are the champion's alone.

    Raises:
        BadInput: there is no champion or it is one of them, shares are out of range, or it would end before it begins.
        NotThere: a version is not registered.
        ReleaseOpen: a version is being released.
        CompetitionOpen: others compete.
        BrokenModel, ParityError: registered files are not the model that was registered.
    """
    ledger, registry = Ledger(config.ledger), fit.registry(config)
    champion = ledger.moves.champion(config.name)
    _check(config, champion, shares, as_of, until)
    if (course := ledger.releases.open(config.name)) is not None:
        raise ReleaseOpen(
            f"{config.name}: version {course.release.version} is being released, and a competition would rest meanwhile: wait "
            "until it has ended, or end it by `python -m ml releases stop`"
        )
    contenders = {}
    for version, share in shares.items():
        registry.tags(version)
        folder, hashes = registry.fetch(version), registry.digests(version)
        copies.check_copy(folder)
        versions.publish(config, folder, hashes)
        contenders[version] = {"share": share, "hashes": dict(hashes)}
    contest = ledger.competitions.begin(
        Competition(
            model=config.name,
            champion=str(champion),
            contenders=contenders,
            split=(config.release and config.release.split) or config.gate.cluster,
            until=until,
            as_of=as_of,
            actor=run.actor,
            reason=reason,
            run_id=run.id_at(as_of),
        )
    )
    begun = contest.competition
    _tell(ledger, begun, f"{begun.name}, until {begun.until:%Y-%m-%d %H:%M}: {reason}", "begun", as_of)
    return contest


def stop(config: Config, as_of: dt.datetime, reason: str, run: Run) -> str:
    """A person ends the competition before its time; what was done, as a sentence.

    Raises:
        NoCompetition: no versions compete beside the champion.
    """
    ledger = Ledger(config.ledger)
    contest = ledger.competitions.newest(config.name, ledger.moves.champion(config.name))
    if contest is None or not contest.is_open(as_of):
        raise NoCompetition(f"no versions of {config.name} compete beside the champion")
    begun = contest.competition
    stopped = CompetitionStop(competition=begun.id, as_of=as_of, actor=run.actor, reason=reason, run_id=run.id_at(as_of))
    ledger.competitions.stop(stopped)
    sentence = f"{begun.name}, stopped: {reason}"
    _tell(ledger, begun, sentence, "stopped", as_of)
    return sentence


def _check(config: Config, champion: str | None, shares: Mapping[str, float], as_of: dt.datetime, until: dt.datetime) -> None:
    if champion is None:
        raise BadInput(f"{config.name} has no champion beside which versions could compete: train, and promote by the gate")
    if champion in shares:
        raise BadInput(f"version {champion} is the champion, which answers what the others leave; name other versions")
    wrong = {version: share for version, share in shares.items() if not 0 < share <= MOST}
    if not shares or wrong or sum(shares.values()) > MOST:
        raise BadInput(
            f"shares are {dict(shares)}, {sum(shares.values()):g} % together; expected each above 0, and at most {MOST:g} % "
            "together, so that the champion answers as much as all others"
        )
    if until <= as_of:
        raise BadInput(f"until is {until.isoformat()}, which is not after {as_of.isoformat()}; give a later instant")


def _tell(ledger: Ledger, begun: Begun, text: str, what: str, as_of: dt.datetime) -> None:
    ledger.messages.post(
        Message(
            model=begun.model,
            key=f"competition {begun.id} {what}",
            event="release",
            text=text[0].upper() + text[1:],
            figure=f"{sum(begun.shares.values()):g} % of the traffic",
            as_of=as_of,
            version=begun.champion,
        )
    )
