"""What the client of a node does, with real containers on a Docker engine."""
