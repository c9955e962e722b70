"""Storages: where files are kept, under keys. `base` says what one must do."""
