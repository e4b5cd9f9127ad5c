"""Queries over frames: one typed tree, made from Lucene text or Python expressions."""
