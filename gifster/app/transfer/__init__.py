"""Brings many files into the library, and out of it: folders, zips, lists of URLs.

`gifster import` and `gifster export` are the commands. What one writes, the other reads.
"""
