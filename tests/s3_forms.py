"""What S3 does with a form, where no server of the tests takes one: rclone has no forms, and moto
checks neither signature nor policy. It is written from Amazon's documentation, "Browser-Based
Uploads Using POST (AWS Signature Version 4)", and writes what it takes into rclone's bucket.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.s3 import SECRET, S3Server

#: Fields that need no condition.
FREE = {"policy", "x-amz-signature", "file"}


def submit(server: S3Server, told: Mapping[str, Any], content: bytes, **changed: str) -> int:
    """Send a form. Returns the status of the answer.

    Parameters:
      told: `url` and `fields`.
      changed: further fields, or others in their place, with `_` for `-`.
    """
    fields = {**told["fields"], **{name.replace("_", "-"): text for name, text in changed.items()}}
    fields = {name.lower(): text for name, text in fields.items()}
    if not hmac.compare_digest(_signature(fields), fields["x-amz-signature"]):
        return 403
    bucket = told["url"].rstrip("/").rpartition("/")[2]
    policy = json.loads(base64.b64decode(fields["policy"]))
    ends_at = datetime.strptime(policy["expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if ends_at < datetime.now(UTC) or not _holds(policy["conditions"], fields, bucket, content):
        return 403
    server.storage(bucket)._connected().put_object(
        Bucket=bucket, Key=fields["key"], Body=content, ContentType=fields["content-type"]
    )
    return 204


def _signature(fields: Mapping[str, str]) -> str:
    _, date, region, service, end = fields["x-amz-credential"].split("/")
    key = f"AWS4{SECRET}".encode()
    for part in (date, region, service, end, fields["policy"]):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _holds(conditions: Any, fields: Mapping[str, str], bucket: str, content: bytes) -> bool:
    said = {**fields, "bucket": bucket}
    named = set()
    for each in conditions:
        if isinstance(each, list) and each[0] == "content-length-range":
            if not each[1] <= len(content) <= each[2]:
                return False
            continue
        (name, value), *more = (
            each.items() if isinstance(each, dict) else [(each[1].removeprefix("$"), each[2])]
        )
        if more or (isinstance(each, list) and each[0] != "eq"):
            raise ValueError(f"not understood: {each}")
        named.add(name.lower())
        if said.get(name.lower()) != value:
            return False
    return set(fields) <= named | FREE
