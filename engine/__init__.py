"""What happened: frames, events, the log contract and the commands."""
