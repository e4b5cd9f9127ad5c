"""Event classes and their registry."""
