"""File contents, stored once under the hash of their bytes."""
