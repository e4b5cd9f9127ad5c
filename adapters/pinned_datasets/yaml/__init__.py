"""Edits YAML files in place."""
