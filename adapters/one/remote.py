"""The download clients of ONE-api for Globus and AWS are not part of this API."""

raise ImportError(
    "framelode.adapters.one has no remote clients: files are downloaded by HTTP, and from AWS with fsspec (extra `s3`)"
)
