"""What a worker needs to send the mails about accounts: a transport, a sender, and the address that
links lead to."""

from dataclasses import dataclass

from gifster.app.accounts.mail_links import link
from gifster.app.accounts.people import address_left
from gifster.app.mailers import Transport, mail
from gifster.app.mailers import transport as transport_of
from gifster.app.models import User
from gifster.app.settings import Settings, Web


@dataclass(frozen=True)
class Post:
    """Sends mails. `deliver()` raises what `Transport.deliver()` raises, and `NoAddress`."""

    transport: Transport
    sender: str
    web: Web

    @classmethod
    def of(cls, settings: Settings) -> "Post":
        """The one that the settings describe."""
        return cls(transport_of(settings.mail), settings.mail.sender, settings.web)

    def deliver(self, template: str, *, to: str, key: str, user: User | None, **more: str) -> None:
        """Render a mail, and hand it over. It does nothing for somebody who has left meanwhile, and
        has no address any more.

        Parameters:
          template: its name in `mails/`.
          key: makes its id; a second copy has the same one.
          user: whom it concerns.
        """
        if user is not None and to == address_left(user.id):
            return
        made = mail(template, to=to, sender=self.sender, key=key, user=user, **more)
        self.transport.deliver(made)

    def link(self, path: str, secret: str = "") -> str:
        """As `mail_links.link()`."""
        return link(self.web, path, secret)
