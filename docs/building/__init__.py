"""Builds the docs site: `make docs` writes it to `site/`, where a browser reads it offline.

The pages in `docs/` are read in the repository, too, so they are plain Markdown with relative
links. `staging` copies them to `build/docs` for MkDocs, whose Markdown and links differ a little.
Beside them come pages that are generated: `reference` (from the docstrings), `http_api`,
`settings` and `command_line`. `offline` checks that no page loads anything from elsewhere.
"""
