"""The query language of `list_data(q=)`: a parser, a typed tree, and its translation to SQL."""

from __future__ import annotations

from .compiler import Instant, Keyed, beginnings, compile_query, equals

__all__ = ["Instant", "Keyed", "beginnings", "compile_query", "equals"]
