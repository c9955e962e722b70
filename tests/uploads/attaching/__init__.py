"""Records and their files: what is assigned, saved, removed and deleted, within transactions."""
