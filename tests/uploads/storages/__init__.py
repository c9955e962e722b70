"""Storages, and servers that are one."""
