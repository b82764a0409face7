"""Finds the settings that an app does not start without."""
