"""Measurements, run by hand with `make bench`. Nothing here is a test: no figure fails anything."""
