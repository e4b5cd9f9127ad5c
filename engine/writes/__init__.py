"""Frame writes: encode, decide, pack and append."""
