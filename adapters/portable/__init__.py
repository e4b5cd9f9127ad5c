"""Logs as portable files: written, and taken over by another engine."""
