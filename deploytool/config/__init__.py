"""The configuration of a project."""

from deploytool.config.loading import LoadedConfig, Setting, load
from deploytool.config.model import BuildSettings, Config
from deploytool.config.schema import schema

__all__ = ["BuildSettings", "Config", "LoadedConfig", "Setting", "load", "schema"]
