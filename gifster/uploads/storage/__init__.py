"""Storages keep files under keys. `base` says what a storage must do, `contract` tests it."""
