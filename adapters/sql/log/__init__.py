"""The log in SQL tables."""
