"""Copies files into a folder under temporary names, hashed on the way."""

from __future__ import annotations

import msgspec
from blake3 import blake3

from .blob_place import CHUNK_BYTES, Scratch
from .blob_sources import Content, Source, copy_content, first_chunk


class Taken(msgspec.Struct, gc=False):
    """A content that was read.

    Attributes
    ----------
    digest : str
        blake3, 64 hex digits.
    size : int
        Bytes.
    content : bytes
        All of it, where it is small and not written yet.
    temporary : str
        Name of its copy, where it was written on the way.
    mode : int
        Mode of the file that was read; that of one for everybody where it was no file.
    """

    digest: str
    size: int
    content: bytes = b""
    temporary: str = ""
    mode: int = 0o444


def take(source: Source, scratch: Scratch) -> Taken:
    """Read a content: a small one into memory, any other is copied on the way."""
    with source.open() as content:
        first = first_chunk(content)
        if len(first) >= CHUNK_BYTES:
            return _copied(content, first, scratch)
        content.check()
    return Taken(blake3(first).hexdigest(), len(first), first, mode=content.mode)


def hash_of(source: Source) -> str:
    """Return the blake3 of a content."""
    hasher = blake3()
    with source.open() as content:
        while data := content.read():
            hasher.update(data)
        content.check()
    return hasher.hexdigest()


def copy(source: Source, scratch: Scratch) -> Taken:
    """Copy a content, whatever its size."""
    with source.open() as content:
        return _copied(content, first_chunk(content), scratch)


def _copied(content: Content, first: bytes, scratch: Scratch) -> Taken:
    sink = scratch.create()
    try:
        try:
            digest, size = copy_content(content, first, sink)
        finally:
            sink.close()
        content.check()
    except BaseException:
        scratch.discard(sink.name)
        raise
    return Taken(digest, size, temporary=sink.name, mode=content.mode)
