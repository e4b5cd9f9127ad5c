"""Frames: records, groups and their wire form."""
