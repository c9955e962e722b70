"""The odd texts, JSON values, bodies and content types that `odd` sends everywhere."""

import base64


def cursor_of(text: str) -> str:
    """A list's cursor, encoded as the application does."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


Text = str | bytes

TEXTS: dict[str, Text] = {
    "a NUL": "a\0b",
    "only a NUL": "\0",
    "a lone surrogate": "a\ud800b" * 4,
    "surrogates the wrong way round": "\udc00\ud800",
    "an overlong slash": b"\xc0\xaf",
    "half a character": b"a\xe2\x82",
    "Latin-1": b"caf\xe9",
    "UTF-16": "ab".encode("utf-16"),
    "50,000 letters": "a" * 50_000,
    "7,000 letters": "a" * 7_000,  # no server rejects a head of 8 kB
    "50,000 percent signs": "%" * 50_000,
    "20,000 combining marks": "a" + "\u0301\u0316" * 10_000,
    "all control characters": "".join(map(chr, [*range(1, 32), *range(127, 160)])),
    "line breaks": "a\r\nX-Odd: b\r\n\r\n\u2028\u2029\x85",
    "bidi controls": "gif.\u202efdp.exe\u2066\u2069\u200f",
    "nothing that can be seen": "\u200b\u2060\ufeff\u3164\u2800\u00ad",
    "noncharacters": "\ufffe\uffff\U0010ffff\ufdd0",
    "tag characters": "\U000e0041\U000e0042",
    "spaces of all kinds": "\u00a0\u3000\u2003\t \u1680",
    "nothing": "",
    "2^63": "9223372036854775808",
    "2^64": "18446744073709551616",
    "-1": "-1",
    "5,000 digits": "9" * 5_000,
    "1e400": "1e400",
    "a number with Arabic digits": "١٢",
    "a number with an underscore": "1_0",
    "a number with spaces": " 1 ",
    "SQL and patterns": "'\";--%_\\[\\",
    "markup": "<script>{{7*7}}${7*7}%s%n</script>",
    "paths": "../../..\\..\\etc/passwd",
    "letters that change their length in lower case": "İ" * 200,
    "a cursor of 2^63": cursor_of(f"{2**63}.a"),
    "a cursor of 5,000 digits": cursor_of("9" * 5_000 + ".a"),
    "a cursor with a NUL": cursor_of("1.a\0"),
    "a cursor of nothing": cursor_of("."),
    "an Origin that is no URL": "http://[::1",
    "a header of quotes and commas": '"\\;,=" ' * 40,
}

#: Texts that caused a 500 more than once.
WORST = ["a NUL", "a lone surrogate", "7,000 letters", "a list with a NUL"]

#: Texts to put where a JSON value is expected. They need not be JSON.
VALUES = {
    "null": "null",
    "true": "true",
    "an object": '{"a": ["b"]}',
    "a list of no texts": '["a", 1, null, ["b"]]',
    "a list with a NUL": '["a\\u0000"]',
    "a list with a lone surrogate": '["\\ud800"]',
    "an object with a NUL for a name": '{"\\u0000": ["\\u0000", "\\u0000"]}',
    "1e400": "1e400",
    "-1e400": "-1e400",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "5,000 digits": "9" * 5_000,
    "10,000 levels": "[" * 10_000 + "]" * 10_000,
    "10,000 levels of objects": '{"a":' * 10_000,
    "2^63": str(2**63),
    "an unfinished text": '"\\u12',
}

#: Complete bodies.
BODIES: dict[str, bytes] = {
    "a byte order mark": b'\xef\xbb\xbf{"title": "a"}',
    "UTF-16": '{"title": "a"}'.encode("utf-16"),
    "UTF-32": '{"title": "a"}'.encode("utf-32"),
    "a surrogate as bytes": b'{"title": "\xed\xa0\x80"}',
    "one name twice": b'{"title": "a", "title": ["b"]}',
    "a NUL for a name": b'{"\\u0000": "a"}',
    "10,000 levels": b"[" * 10_000,
    "nothing": b"",
    "a NUL": b"\0",
}

KINDS = [
    "application/json; charset=utf-7", "application/json; charset=\"", "APPLICATION/JSON",
    "application/x-www-form-urlencoded; charset=none", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=\xff", "multipart/form-data", "/", ";", "a" * 400,
]  # fmt: skip

#: Headers that we, the framework or the server parse.
HEADERS = [
    "Accept", "Authorization", "Content-Type", "Cookie", "Forwarded", "Host", "If-Modified-Since",
    "If-None-Match", "Origin", "Range", "Referer", "Sec-Fetch-Mode", "Sec-Fetch-Site",
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
]  # fmt: skip
