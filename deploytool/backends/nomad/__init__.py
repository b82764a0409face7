"""A Nomad cluster."""
