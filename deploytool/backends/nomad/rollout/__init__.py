"""Carrying a plan out on a Nomad cluster."""
