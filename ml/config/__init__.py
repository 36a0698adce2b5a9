"""A deployment: one YAML file, checked on load."""

from ml.config.data import Replay, Simulation, Window
from ml.config.deployment import PROJECT, Card, Config, ConfigError, Risk, load
from ml.config.gate import SliceBy
from ml.config.thresholds import Section, Threshold
from ml.config.training import Choices, Model, Tuning

__all__ = [
    "PROJECT",
    "Card",
    "Choices",
    "Config",
    "ConfigError",
    "Model",
    "Replay",
    "Risk",
    "Section",
    "Simulation",
    "SliceBy",
    "Threshold",
    "Tuning",
    "Window",
    "load",
]
