"""Versions: `declaring` has the decorators, the `plan` decides what each version is made of,
`processing` makes them, and `made_files` those that steps of the user's make. `derivations` are
versions that are made on demand (`making`).
"""
