"""Answers queries over frames: columns of what they ask for, and the evaluation over them."""
