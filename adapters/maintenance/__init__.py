"""Garbage collection, verification and copies of an engine."""
