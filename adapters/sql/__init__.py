"""The log and the projections in SQL databases, on SQLAlchemy Core."""
