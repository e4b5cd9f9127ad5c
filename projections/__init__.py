"""What is true now: folds of the log, and the runner that keeps them."""
