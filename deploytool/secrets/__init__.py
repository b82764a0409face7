"""Secrets: where their values come from, and the versions that a cluster has of them."""
