"""The application as plain functions that know nothing of HTTP, jobs or the terminal.

`library` works with GIFs, `accounts` and `tokens` with people. `texts` and
`addresses` say which input is valid; `errors` are the refusals. `boot` starts a process: it takes
the `settings`, and connects the `database`, whose tables are in `models`.
"""
