"""From annotation files to batches of training samples."""
