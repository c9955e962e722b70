"""Versions: how they are made, and of what."""
