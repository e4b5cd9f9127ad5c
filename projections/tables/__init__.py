"""Projections that are stored in tables."""
