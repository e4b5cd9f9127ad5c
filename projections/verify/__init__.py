"""Verification of the log and the projections."""
