"""Annotation types and their registry."""
