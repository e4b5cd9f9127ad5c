"""Queries across versions: SQL through DuckDB (extra `sql`), and one query over several versions."""
