"""What a person types besides single steps."""

from ml.commands import edge, explanation, golden, init, loop, monitoring, oncall, provenance, quarantine, serve

COMMANDS = (
    init.COMMANDS
    | loop.COMMANDS
    | oncall.COMMANDS
    | quarantine.COMMANDS
    | provenance.COMMANDS
    | golden.COMMANDS
    | explanation.COMMANDS
    | monitoring.COMMANDS
    | serve.COMMANDS
    | edge.COMMANDS
)
