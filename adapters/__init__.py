"""Adapters: databases, files, the command line and the public APIs."""
