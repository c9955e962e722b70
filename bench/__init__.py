"""Measurements, run by hand with `make bench`. These are not tests: no result makes them fail."""
