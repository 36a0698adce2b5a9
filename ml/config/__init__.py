"""A deployment: one YAML file, checked on load."""

from ml.config.data import ReplayFeed, SimulationFeed, Window
from ml.config.deployment import PROJECT, CardSettings, Config, ConfigError, Risk, load
from ml.config.gate import SliceBy
from ml.config.thresholds import Section, Threshold
from ml.config.training import Choices, ModelSettings, Tuning

__all__ = [
    "PROJECT",
    "CardSettings",
    "Choices",
    "Config",
    "ConfigError",
    "ModelSettings",
    "ReplayFeed",
    "Risk",
    "Section",
    "SimulationFeed",
    "SliceBy",
    "Threshold",
    "Tuning",
    "Window",
    "load",
]
