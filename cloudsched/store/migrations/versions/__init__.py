"""The revisions, one file for each schema version."""
