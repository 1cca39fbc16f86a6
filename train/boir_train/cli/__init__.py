"""Command lines of training and evaluation, one file a command."""
