"""Backgrounding: the `backgrounder` leaves the slow work on uploads to a worker, which runs a
`promotion`, a `recreate`, or `refreshing`.
"""
