"""The client for registering sessions in an Alyx database is not part of this API."""

raise ImportError(
    "framelode.adapters.one has no registration client: use ONE-api to register in an Alyx database, "
    "or `framelode one setup` to register a folder in the log"
)
