"""Spellings of one object in object stores."""

from __future__ import annotations

import pytest

from framelode.engine.storage.urls import canonical_uri, fsspec_url, object_key, spellings

AZURE = "az://c@account.dfs.core.windows.net/folder/x.jpg"


@pytest.mark.parametrize(
    "uri",
    [
        "azure://account.blob.core.windows.net/c/folder/x.jpg",
        "abfs://c@account.dfs.core.windows.net/folder/x.jpg",
        "abfss://c@account.blob.core.windows.net/folder/x.jpg",
        "wasbs://c@Account.blob.core.windows.net/folder/x.jpg",
        "AZ://account.dfs.core.windows.net/c/folder/x.jpg",
    ],
)
def test_spellings_of_one_object_are_one_canonical_uri(uri):
    assert canonical_uri(uri) == AZURE
    assert canonical_uri(canonical_uri(uri)) == AZURE
    assert uri in spellings(uri)
    assert object_key(uri) == object_key(AZURE) == "az://c/folder/x.jpg"


def test_canonical_uris_of_other_stores():
    assert canonical_uri("S3A://bucket/x") == canonical_uri("s3://bucket/x") == "s3://bucket/x"
    assert canonical_uri("gcs://bucket/x") == "gs://bucket/x"
    assert canonical_uri("az://container/x") == "az://container/x"
    assert canonical_uri("/folder/x") == "/folder/x"
    assert canonical_uri("s3://bucket//x") == "s3://bucket//x"  # another object
    assert (
        fsspec_url("azure://account.blob.core.windows.net/c/x") == "abfs://c@account.dfs.core.windows.net/x"
    )


@pytest.mark.parametrize(
    "uri", ["s3://Bucket//a/b%20c.jpg", "s3a://bucket/a/b c.jpg", "S3://bucket/a//b%20c.jpg"]
)
def test_what_may_be_one_object_has_one_key(uri):
    assert object_key(uri) == "s3://bucket/a/b c.jpg"


def test_other_objects_have_other_keys():
    keys = {
        object_key(uri) for uri in ("s3://a/x", "gs://a/x", "s3://a/X", "s3://b/x", "https://a/x", "/a/x")
    }
    assert len(keys) == 6
