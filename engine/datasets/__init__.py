"""Datasets and versions: their events, state and commands."""
