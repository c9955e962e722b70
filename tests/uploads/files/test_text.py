"""Cleaning text from outside: what stays, what changes, what can be seen."""

import unicodedata

import hypothesis
import pytest
from hypothesis import strategies

from gifster.uploads.text import LONGEST, has_controls, is_text, is_visible, one_line

FAMILY = "👩\u200d👩\u200d👧"
RAINBOW_FLAG = "🏳\ufe0f\u200d🌈"
SHAKING = "🙂\u200d\u2194\ufe0f"
ASTRONAUT = "👩🏽\u200d🚀"
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
PERSIAN = "می\u200cروم"
HINDI = "क्\u200dष"
HEART = "❤\ufe0f"

LINES = {
    "plain": ("My cat", "My cat"),
    "NFD": ("U\u0308bung", "Übung"),
    "an emoji of several": (FAMILY, FAMILY),
    "a flag": (RAINBOW_FLAG, RAINBOW_FLAG),
    "an emoji with an arrow": (SHAKING, SHAKING),
    "a skin tone": (ASTRONAUT, ASTRONAUT),
    "a flag of tags": (SCOTLAND, SCOTLAND),
    "a variation selector": (HEART, HEART),
    "Persian": (PERSIAN, PERSIAN),
    "Hindi": (HINDI, HINDI),
    "joiners between Latin letters": ("c\u200da\u200ct", "cat"),
    "a joiner at either end": ("\u200dcat\u200d", "cat"),
    "tags that spell a text": ("cat\U000e0041\U000e0042", "cat"),
    "an override": ("gif.\u202efdp.exe", "gif.fdp.exe"),
    "isolates": ("\u2066cat\u2069 \u202adog\u202c", "cat dog"),
    "a mark of direction": ("C++\u200f", "C++\u200f"),
    "special spaces": ("\u3000a\u00a0\u2003b\u2028c\u2029d\te\r\nf\x85", "a b c d e f"),
    "invisible characters": ("ca\u00ad\u200b\u2060\ufefft", "cat"),
    "a space that is left alone": ("a \u200b b", "a b"),
    "control characters": ("a\0\x07\x1b[31mb\x9bc", "a[31mbc"),
    "surrogates and noncharacters": ("a\ud800\ufffe\U0010ffffb", "ab"),
    "selectors of nothing": ("\ufe0f\ufe0fa \ufe0f", "a"),
    "a letter that this Python does not know": ("\U0001faff", "\U0001faff"),
}


@pytest.mark.parametrize(("text", "line"), LINES.values(), ids=LINES)
def test_one_line_is_what_people_see(text: str, line: str):
    assert one_line(text) == line


@pytest.mark.parametrize(
    "text",
    ["", " ", "\u3164", "\u2800\u2800", "\u200e\u200f", "\u115f\u1160", "\u0301", "\ufe0f"],
)  # fmt: skip
def test_a_text_without_ink_is_not_visible(text: str):
    assert not is_visible(one_line(text))


@pytest.mark.parametrize("text", ["a", "猫", "5", "!", "🐈", HEART, "\U0001faff", "\ue000"])
def test_a_text_with_ink_is_visible(text: str):
    assert is_visible(text)


@hypothesis.settings(max_examples=300, deadline=None, database=None, derandomize=True)
@hypothesis.given(
    strategies.text(
        strategies.one_of(
            strategies.characters(exclude_categories=[]),
            strategies.sampled_from(" a\u0301\u200c\u200d\ufe0f\u0645\u094d🐈🏴\u202e\u00a0\u200b"
                                    "\U000e0067\U000e007f\ud800\0🏽"),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_every_text_becomes_a_clean_line(text: str):
    line = one_line(text)

    assert is_text(line)
    assert not has_controls(line)
    assert line == line.strip()
    assert "  " not in line
    assert unicodedata.is_normalized("NFC", line)
    assert one_line(line) == line


def test_a_text_that_would_take_long_to_normalize_is_refused():
    with pytest.raises(ValueError, match="more than 2,000"):
        one_line("a" + "\u0301\u0316" * LONGEST)


def test_a_text_that_no_database_can_hold_is_no_text():
    assert [is_text(text) for text in ("a", "", "a\0", "\ud800", "\udfff", "\U0010ffff")] == [
        True, True, False, False, False, True,
    ]  # fmt: skip
    assert has_controls("a\x07")
    assert not has_controls("a\tb\n\u2028")
