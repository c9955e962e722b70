"""What takes long about accounts: packing all GIFs of a user, emptying their trash, and removing an
account."""

import dramatiq

from gifster.actors import setup  # noqa: F401

#: A user may have gigabytes in a slow bucket (milliseconds).
LONGEST_MS = 6 * 3600 * 1000
#: A job deletes a thousand GIFs.
STEP_MS = 3600 * 1000


def _export_died(error: BaseException, export_id: str) -> None:
    from gifster.app.accounts import exports  # noqa: PLC0415

    exports.give_up(export_id)


@dramatiq.actor(
    queue_name="default",
    max_retries=3,
    time_limit=LONGEST_MS,
    outbox_only=True,
    on_dead=_export_died,
)
def make_export(export_id: str) -> None:
    """Pack all GIFs of a user."""
    from gifster.app.accounts import exports  # noqa: PLC0415 it loads what passwords and mails need

    exports.make(export_id)


@dramatiq.actor(
    queue_name="default",
    # For four days. After that, the hourly `clean_up` asks for it again.
    max_retries=100,
    max_backoff=3_600_000,
    time_limit=STEP_MS,
    outbox_only=True,
)
def remove_account(user_id: str, with_gifs: bool) -> None:
    """Remove an account that its user left, or a part of it: then another job goes on."""
    from gifster.app.accounts import leaving  # noqa: PLC0415

    leaving.remove(user_id, with_gifs)


@dramatiq.actor(queue_name="default", max_retries=10, time_limit=STEP_MS, outbox_only=True)
def empty_trash(user_id: str, moment: int) -> None:
    """Delete what a user had in the trash, or a part of it: then another job goes on."""
    from gifster.app import trash  # noqa: PLC0415

    trash.empty_until(user_id, moment)
