"""The `boir-convert` command."""
