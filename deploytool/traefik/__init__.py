"""Traefik, whatever cluster it serves: what its labels or tags say, and who answers a URL."""
