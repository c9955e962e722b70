"""The pages of the reference: which public names of the libraries come under which heading.

mkdocstrings reads their signatures and docstrings from the source.
"""

from importlib.util import find_spec
from types import ModuleType

from gifster import imaging, jobs, uploads

#: Names by heading, for the modules whose `__all__` they cover.
UPLOADS = {
    "Mounting": ["mount_uploader", "mount_uploaders", "HasUploads"],
    "Uploaders": ["Uploader", "UploaderList", "Source", "safe_name", "placeholder"],
    "Versions and steps": ["version", "process", "derivation", "Image", "ImageInfo"],
    "Metadata": ["metadata", "refresh_metadata", "LocalFile"],
    "In the background": ["Backgrounder", "store_in_background", "process_in_background"],
    "Fields": [
        "CacheField", "CacheListField", "ProcessingField", "StateField", "UploadState",
        "ErrorField", "UploadFailure",
    ],
    "Attributes": [
        "RemoveFlag", "RemoteUrl", "RemoteUrls", "RequestHeaders", "CacheId", "CacheIds",
        "ProcessFlag",
    ],
    "Files": ["StoredFile", "StoredVersion", "CachedFile", "UploaderVersion", "json_default"],
    "Storages": [
        "Storage", "LocalStorage", "S3Storage", "FsspecStorage", "MirrorStorage",
        "StorageUnavailable",
    ],
    "Remote files": ["Downloader"],
    "Options": ["configure"],
    "Upkeep": ["sweep", "recreate_all"],
    "Direct and resumable uploads": ["presign", "TABLES"],
    "Errors": ["UploadError"],
}  # fmt: skip
JOBS = {
    "Broker": ["connect", "QueueWeight", "ping", "BrokerUnavailable"],
    "Jobs": ["enqueue", "send_many", "send_bulk", "transaction", "Job", "NotBound"],
    "Relay and recurring jobs": [
        "relay", "every", "cron", "declare_recurring", "Recurring", "enqueue_recurring",
        "recurring_jobs", "RecurringJob", "forget_others",
    ],
    "Finding, retrying and dropping": [
        "State", "find", "state_of", "is_waiting", "retry", "drop", "clear", "forget_dead",
        "NoSuchJob", "JobIsRunning",
    ],
    "Queues and workers": [
        "pause", "resume", "paused_queues", "PausedQueue", "workers", "Worker", "quiet",
        "NoSuchWorker",
    ],
    "Stats": [
        "stats", "QueueStats", "history", "totals", "Span", "ActorStats", "MINUTE_S", "HOUR_S",
        "DAY_S",
    ],
    "The clock": ["now", "moment_before", "ClockSpan"],
    "Tables": [
        "migrate", "pending_migrations", "OldSchema", "create_tables", "TABLES", "OutboxIdentity",
    ],
}  # fmt: skip
IMAGING = {
    "Reading": ["ImageInfo", "Fingerprint", "placeholder"],
    "Making": ["Image", "render", "render_unsandboxed", "strip_metadata", "preload"],
    "Errors": ["ImagingError"],
}
#: Options of mkdocstrings for some of these names: an uploader's limits come from a base class.
#: The errors of a module show their `code`, which needs no docstring.
OPTIONS = {
    "Uploader": ["inherited_members: true"],
    "gifster.uploads.errors": ["show_if_no_docstring: true"],
    "gifster.imaging.errors": ["show_if_no_docstring: true"],
}
WHOLE_MODULE = ("show_root_heading: false", "show_root_toc_entry: false")
#: Modules beside them that a user imports by name, each under the page of its library. Without
#: names it is the whole module.
FURTHER = {
    "uploads": {
        "gifster.uploads.actors": ["store_actor", "process_actor", "Promotion", "Recreation"],
        "gifster.uploads.files.sources": ["cache_upload", "cache_form_part"],
        "gifster.uploads.files.cache_ids": ["cache_id", "retrieve", "DirectUpload"],
        "gifster.uploads.storage.base": [
            "Listing", "Presigning", "PresigningForms", "PresignedUpload", "check_key",
        ],
        "gifster.uploads.storage.copy": ["copy_all", "journaled", "Copied", "CopyDiffers"],
        "gifster.uploads.sweep": ["Findings", "LeftAlone", "Why"],
        "gifster.uploads.sweep.contents": [
            "records", "damaged_files", "recreate_damaged", "Damaged",
        ],
        "gifster.uploads.instrumentation": ["Event", "subscribe", "log_events"],
        "gifster.uploads.endpoints": [],
        "gifster.uploads.errors": [],
        "gifster.uploads.testing": [],
    },
    "jobs": {
        "gifster.jobs.tracing": ["trace_jobs"],
        "gifster.jobs.page": ["wsgi", "asgi", "Access"],
        "gifster.jobs.admin": [],
        "gifster.jobs.testing": [],
    },
    "imaging": {"gifster.imaging.probe": ["probe"], "gifster.imaging.errors": []},
}  # fmt: skip


def pages() -> dict[str, str]:
    """The pages by file name, in Markdown.

    Raises:
      LookupError: a public name is under no heading, or a heading has one that is not public.
    """
    return {
        f"{name}.md": _page(name, module, headings)
        for name, module, headings in (
            ("uploads", uploads, UPLOADS),
            ("jobs", jobs, JOBS),
            ("imaging", imaging, IMAGING),
        )
    }


def path_of(module: ModuleType, name: str) -> str:
    """The path of a public name. The function `sweep` is in a package that is called so, too."""
    path = f"{module.__name__}.{name}"
    return f"{path}.{name}" if find_spec(path) else path


def _page(name: str, module: ModuleType, headings: dict[str, list[str]]) -> str:
    listed = [one for names in headings.values() for one in names]
    if new := set(module.__all__) - set(listed):
        raise LookupError(
            f"{', '.join(sorted(new))}: new in __all__ of {module.__name__}. Add it to a heading "
            f"of {name.upper()} in docs/building/reference.py"
        )
    if gone := set(listed) - set(module.__all__):
        raise LookupError(
            f"{', '.join(sorted(gone))}: not in __all__ of {module.__name__} any more. Remove it "
            f"from {name.upper()} in docs/building/reference.py"
        )
    text = f"# gifster.{name}\n\n"
    for heading, names in headings.items():
        text += f"## {heading}\n\n"
        for one in names:
            text += _directive(path_of(module, one), 3, *OPTIONS.get(one, ()))
    for further, names in FURTHER[name].items():
        text += f"## {further}\n\n"
        for one in names:
            text += _directive(f"{further}.{one}", 3)
        if not names:
            text += _directive(further, 3, *WHOLE_MODULE, *OPTIONS.get(further, ()))
    return text


def _directive(path: str, level: int, *options: str) -> str:
    given = "".join(f"      {option}\n" for option in (f"heading_level: {level}", *options))
    return f"::: {path}\n    options:\n{given}\n"
