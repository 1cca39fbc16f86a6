"""The `boir` command: one file a command, thin over the public API."""
