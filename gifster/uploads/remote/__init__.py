"""Remote files: an upload is fetched by its URL, from public servers only.

The `downloader` asks the servers one after another. `url` reads what strangers write, `addresses`
tells public servers from others, `headers` and `answer` are those of one request.
"""
