"""What a person types besides single steps."""

from ml.commands import (
    competition,
    edge,
    explanation,
    explored,
    golden,
    init,
    keys,
    loop,
    migrate,
    monitoring,
    oncall,
    provenance,
    quarantine,
    releases,
    replay,
    serve,
)

COMMANDS = (
    init.COMMANDS
    | keys.COMMANDS
    | loop.COMMANDS
    | oncall.COMMANDS
    | quarantine.COMMANDS
    | provenance.COMMANDS
    | golden.COMMANDS
    | explanation.COMMANDS
    | explored.COMMANDS
    | monitoring.COMMANDS
    | releases.COMMANDS
    | competition.COMMANDS
    | replay.COMMANDS
    | serve.COMMANDS
    | edge.COMMANDS
    | migrate.COMMANDS
)
