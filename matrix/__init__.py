"""The install matrix: the built package in empty environments, on every Python and extra that can be had here.

Run it with `python -m matrix` in the development environment (`make matrix`); see docs/install.md.
"""
