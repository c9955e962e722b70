"""The actors of the application, as a worker loads them."""

from pathlib import Path

from tests.stack import Stack


def test_all_actors_but_one_are_outbox_only(tmp_path: Path, broker_url: str):
    """Run in its own process, because a process declares the actors once."""
    code = (
        "from gifster.actors import broker\n"
        "print(sorted(n for n, a in broker.actors.items() if not a.options.get('outbox_only')))"
    )
    stack = Stack(tmp_path, broker_url)
    assert stack.run("python", "-c", code).stdout.strip() == "['send_welcome_email']"
