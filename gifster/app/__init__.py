"""What Gifster is, as plain functions that know nothing of HTTP, jobs or the terminal.

`library` is what one does with GIFs, `accounts` and `tokens` with people, `jobs_admin` with the
jobs; `texts`, `addresses` and `errors` say what is taken and what is refused. `boot` starts a
process; it reads `settings` and connects `database`, whose tables are in `models`.
"""
