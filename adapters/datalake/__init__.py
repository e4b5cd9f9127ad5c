"""The datalake."""
