"""A real mail server that keeps the mails it gets."""

import email
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.machine import free_port


class Inbox:
    """Keeps mails, or gives the answer that a test sets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer = "250 OK"
        self.url = ""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        return self.answer

    def about(self, subject: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if subject in mail["Subject"]]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    kept = Inbox()
    controller = Controller(kept, hostname="127.0.0.1", port=free_port())
    controller.start()
    kept.url = f"smtp://127.0.0.1:{controller.port}"
    yield kept
    controller.stop()
