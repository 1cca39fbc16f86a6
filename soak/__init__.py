"""Long runs that look for what short tests can't see; `python -m soak --help` lists them. Outside the default tests."""
