"""Benchmarks, each beside what a user would run instead, as ratios from one run."""
