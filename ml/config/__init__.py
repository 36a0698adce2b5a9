"""A deployment: one YAML file, checked on load."""

from ml.config.data import AnyWindow, EventWindow, ReplayFeed, SimulationFeed, Window
from ml.config.deployment import PROJECT, CardSettings, Config, ConfigError, Risk, load
from ml.config.gate import SliceBy
from ml.config.thresholds import Section, Threshold
from ml.config.training import Choices, ModelSettings, Tuning

__all__ = [
    "PROJECT",
    "AnyWindow",
    "CardSettings",
    "Choices",
    "Config",
    "ConfigError",
    "EventWindow",
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
