"""Where parts of long work are done: processes of this machine, and the workers of a Dask cluster."""
