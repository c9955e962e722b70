"""A GIF somewhere else: addresses that stay, what previews of chats read, embedding, feeds.

`renditions` chooses the files of a GIF that others get, `files` serves them under `/g/…`,
`previews` has the facts of the tags in a page's head, `oembed` and `embed` are for sites that show
a GIF, and `feeds` is for feed readers. docs/sharing.md says who reads what.
"""
