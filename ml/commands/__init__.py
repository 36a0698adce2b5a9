"""What a person types besides single steps."""

from ml.commands import explanation, golden, loop, oncall, provenance, quarantine

COMMANDS = loop.COMMANDS | oncall.COMMANDS | quarantine.COMMANDS | provenance.COMMANDS | golden.COMMANDS | explanation.COMMANDS
