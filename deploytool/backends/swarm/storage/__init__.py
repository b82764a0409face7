"""Records and secrets on a Swarm."""
