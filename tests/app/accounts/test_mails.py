"""Mails: the input of people is text in them, and neither a header nor markup."""

from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from gifster.app import mailers
from gifster.app.mailers import NoAddress, WelcomeMailer, mail
from gifster.app.models import User, now

MAILS = Path(mailers.__file__).parent / "mails"
SENDER = "Gifster <g@example.org>"


def test_a_name_is_text_in_the_html_and_one_line_in_the_subject():
    user = User(id="a", email="ann@example.org", name="<b>Ann</b>\r\nBcc: eve@example.org")
    user.confirmed_at = now()

    sent = WelcomeMailer.welcome_email(user, SENDER).as_bytes()

    read = message_from_bytes(sent, policy=default)
    assert read["Subject"] == "Welcome to Gifster, <b>Ann</b> Bcc: eve@example.org"
    assert read["Bcc"] is None
    html = read.get_body(("html",)).get_content()
    assert "&lt;b&gt;Ann&lt;/b&gt;" in html
    assert "<b>" not in html


@pytest.mark.parametrize(
    "address", ["a@b,c@d", "foo<bar@baz.org>", "a@b\nBcc: eve@example.org", "", "ann", "a@b>"]
)
def test_a_text_that_is_not_one_address_gets_no_mail(address: str):
    with pytest.raises(NoAddress, match="no mail can be sent to"):
        WelcomeMailer.welcome_email(User(id="a", email=address, name="Ann"), SENDER)


def test_addresses_with_odd_characters_get_their_mail():
    for address in ("o'neil+gifs@example.org", '"a b"@example.org', "zoë@exämple.org"):
        user = User(id="a", email=address, name="Zoë")
        assert WelcomeMailer.welcome_email(user, SENDER)["To"].addresses[0].addr_spec == address


@pytest.mark.parametrize("template", sorted({path.stem for path in MAILS.glob("*.txt")}))
def test_no_mail_brings_a_strangers_text_to_an_address_that_is_not_theirs(template: str):
    # Given somebody who has chosen a name to be sent to a third person
    eve = User(
        id="a", email="ann@example.org", name="WIN 1000 AT spam.example", new_email="b@b.org"
    )
    values = dict.fromkeys(("link", "end", "by", "what", "former", "email"), "x")

    def text(to: str) -> str:
        made = mail(template, to=to, sender=SENDER, key="k", user=eve, **values)
        return made["Subject"] + "".join(part.get_content() for part in made.iter_parts())

    # I expect no mail to have it, be the address the account's or the one that it wants
    assert "spam" not in text(eve.email)
    eve.confirmed_at = now()
    assert "spam" not in text("b@b.org")
