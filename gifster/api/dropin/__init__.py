"""GIF search as Tenor v2 and GIPHY v1 answer it: clients that were made for these find GIFs here
once somebody changes their base URL (docs/drop-in.md).

- `asked` and `positions` read what clients send, and forgive what they send by mistake.
- `access` knows the keys, the rate limits, and from where browsers may ask.
- `renditions` finds the stored file nearest to a format of theirs; `addresses` makes URLs.
- `tenor` and `giphy` are the endpoints; `tenor_objects` and `giphy_objects` shape the answers.
- `uploading` accepts GIPHY's uploads, `counting` its analytics, `media` its media addresses.
- `envelopes` shapes the errors, and `routes` has every path.
"""
