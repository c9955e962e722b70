"""The actors of the application, as a worker loads them."""

from pathlib import Path

from tests.stack import Stack


def test_all_actors_but_one_are_outbox_only_and_a_dead_export_is_given_up(
    tmp_path: Path, broker_url: str
):
    """Run in its own process, because a process declares the actors once."""
    code = (
        "from gifster.actors import broker\n"
        "print(sorted(n for n, a in broker.actors.items() if not a.options.get('outbox_only')))\n"
        "print(broker.actors['make_export'].options['on_dead'].__name__)"
    )
    stack = Stack(tmp_path, broker_url)
    assert stack.run("python", "-c", code).stdout.split("\n") == [
        "['send_welcome_email']",
        "_export_died",
        "",
    ]
