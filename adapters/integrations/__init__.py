"""Versions in other tools: a filesystem, and records of what they were used for."""
