"""A log with its projections, opened."""
