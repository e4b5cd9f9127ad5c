"""The world: SQL, files, the command line and the public APIs."""
