"""URIs of objects in stores: which may be deleted with their frames, and which mean the same object."""

from __future__ import annotations

DELETABLE = ("s3", "gs", "gcs", "az", "azure", "abfs", "abfss")
"""Schemes of sources that may be deleted with their frames, beside ``blobs:``."""

_SAME = (("gs", "gcs"), ("az", "azure", "abfs", "abfss"))
"""Schemes that mean the same objects, the one that stands for all of them first."""


def scheme_of(uri: str) -> str:
    """Return the scheme of a URL in small letters; empty for anything else."""
    scheme, colon, _ = uri.partition("://")
    return scheme.lower() if colon else ""


def canonical_uri(uri: str) -> str:
    """Return the one URI that stands for all that mean the same object."""
    scheme = scheme_of(uri)
    return f"{_schemes(scheme)[0]}{uri[len(scheme) :]}"


def spellings(uri: str) -> set[str]:
    """Return the URIs that mean the same object, this one included."""
    scheme = scheme_of(uri)
    return {uri, *(f"{other}{uri[len(scheme) :]}" for other in _schemes(scheme))}


def _schemes(scheme: str) -> tuple[str, ...]:
    return next((schemes for schemes in _SAME if scheme in schemes), (scheme,))
