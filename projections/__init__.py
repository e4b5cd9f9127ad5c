"""Projections: the current state, computed by replaying the log, and the runner that updates it."""
