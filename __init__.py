"""framelode: event-sourced data versioning for frames and their annotations."""
