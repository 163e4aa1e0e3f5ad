"""Offline training: what a pair of images should give, and how networks learn it."""
