"""One module a schema version, numbered; written once, then never changed."""
