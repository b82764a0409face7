"""The Nomad backend without a cluster."""
