"""The former place of `files/sources.py`, for one more release: its names work, with a warning."""

from gifster.imaging.renamed import aliases

__getattr__ = aliases(
    __name__,
    {
        **{
            name: f"gifster.uploads.files.sources.{name}"
            for name in ("Source", "cache_upload", "cache_stream", "cache_form_part")
        },
        "take_in_part": "gifster.uploads.files.sources.cache_form_part",
        "take_in_again": "gifster.uploads.files.cache_ids.retrieve",
        "cache_id": "gifster.uploads.files.cache_ids.cache_id",
    },
)
