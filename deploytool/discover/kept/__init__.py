"""Reads a Dockerfile that was there before `init`."""
