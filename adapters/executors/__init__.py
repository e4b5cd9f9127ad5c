"""Executors for long work: processes of this machine, and the workers of a Dask cluster."""
