"""Keys and values of execution stores."""
