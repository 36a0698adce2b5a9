"""What a person types besides single steps."""

from ml.commands import explanation, loop, oncall, provenance, quarantine

COMMANDS = loop.COMMANDS | oncall.COMMANDS | quarantine.COMMANDS | provenance.COMMANDS | explanation.COMMANDS
