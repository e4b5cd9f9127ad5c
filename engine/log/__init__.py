"""The log: record batches, the log contract and checkpoints."""
