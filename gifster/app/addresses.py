"""E-mail addresses: which ones are accepted, and the one spelling of each that is kept.

The rules are email-validator's: the syntax of RFC 5321 without quotes, comments, display names and
address literals; IDNA 2008. Nothing is looked up in the DNS (decision 35).
"""

import email_validator
from email_validator import EmailNotValidError, validate_email

from gifster.app.errors import Invalid
from gifster.jobs.wording import shown
from gifster.uploads.text import is_text

#: RFC 5321, 4.5.3.1.3, less the angle brackets (erratum 1690 to RFC 3696).
MAX_ADDRESS = 254
#: Domains that only mean something on one machine or in one network (RFC 6761, RFC 6762).
#: email-validator always refuses them; here a setting decides.
_IN_HOUSE = ("local", "localhost", "test")
for _name in _IN_HOUSE:
    email_validator.SPECIAL_USE_DOMAIN_NAMES.remove(_name)


def canonical(text: str, *, in_house: bool = False) -> str:
    """An address as it is kept: in lower case, the domain in ASCII (`ann@xn--exmple-cua.de`), which
    any mail server accepts.

    Parameters:
      in_house: whether domains without a dot, `.local` and the like are accepted.

    Raises:
      Invalid: it is not an address, or this server could not send mail to it; says why.
    """
    text = text.strip()
    if len(text) > MAX_ADDRESS:
        raise Invalid("email_invalid", f"An e-mail address has at most {MAX_ADDRESS} characters.")
    try:
        found = validate_email(
            text,
            allow_smtputf8=False,
            check_deliverability=False,
            globally_deliverable=not in_house,
        )
    except EmailNotValidError as error:
        raise Invalid(
            "email_invalid", f"{shown(text)} is not an e-mail address: {_reason(error)}"
        ) from None
    domain = found.ascii_domain
    if not in_house and domain.rpartition(".")[2] in _IN_HOUSE:
        raise Invalid(
            "email_invalid", f"{domain} means something in one network only. Use another address."
        )
    return f"{found.local_part}@{domain}".lower()


def _reason(error: EmailNotValidError) -> str:
    """What email-validator says, as the end of a sentence and in our spelling."""
    said = str(error).replace("email", "e-mail")
    return said[:1].lower() + said[1:]


def spellings(text: str) -> list[str]:
    """The spellings under which an account's address may be kept: as typed, in lower case; as
    `canonical()` has it; and with its domain in Unicode, as earlier releases kept it. Empty if the
    text cannot be an address."""
    typed = text.strip().lower()
    if len(typed) > MAX_ADDRESS or not is_text(typed):
        return []
    found = [typed]
    try:
        ascii_one = canonical(text, in_house=True)
        local = ascii_one.rpartition("@")[0]
        unicode_domain = validate_email(
            ascii_one, check_deliverability=False, globally_deliverable=False
        ).domain
    except (Invalid, EmailNotValidError):
        return found
    return list(dict.fromkeys([*found, ascii_one, f"{local}@{unicode_domain}"]))


def account_of(text: str) -> str:
    """One text for all spellings of an account's address, for counting; empty if it cannot be an
    address."""
    try:
        return canonical(text, in_house=True)
    except Invalid:
        return (spellings(text) or [""])[0]
