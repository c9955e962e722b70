"""Files: what an upload is made from, where it waits, and what is known of it once it is stored.

`sources` copies what is assigned into the `cache`, and `validation` checks it on the way. A cached
file goes through a client's hands as one of the `cache_ids`. `stored` has the facts of a stored
file; both kinds can be read (`kept_file`). Everything that touches a storage goes through `access`.
"""
