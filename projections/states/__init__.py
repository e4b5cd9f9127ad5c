"""Version states, snapshots and fingerprints."""
