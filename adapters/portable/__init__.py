"""Export and import of logs as portable files."""
