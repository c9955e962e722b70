"""Makes and encodes the messages that travel to Redis together (Sidekiq's `push_bulk`).

To copy a message and to encode it takes Dramatiq longer than the round trip takes for each of 500
messages. So here a message is made and encoded in one go, wherever the encoder is Dramatiq's own.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import dramatiq
from dramatiq.encoder import JSONEncoder

#: How many messages travel in one round trip.
BATCH = 500

#: As Dramatiq's encoder calls it, which makes a new one for each message.
_json = json.JSONEncoder(separators=(",", ":")).encode


def with_id(message: dramatiq.Message[Any], message_id: str) -> dramatiq.Message[Any]:
    """A copy of a message, with its id in Redis."""
    return dramatiq.Message(
        message.queue_name,
        message.actor_name,
        message.args,
        message.kwargs,
        {**message.options, "redis_message_id": message_id},
        message.message_id,
        message.message_timestamp,
    )


def encoded(message: dramatiq.Message[Any]) -> bytes:
    """What `message.encode()` returns."""
    if type(dramatiq.get_encoder()) is not JSONEncoder:
        return message.encode()
    return _json(
        {
            "queue_name": message.queue_name,
            "actor_name": message.actor_name,
            "args": message.args,
            "kwargs": message.kwargs,
            "options": message.options,
            "message_id": message.message_id,
            "message_timestamp": message.message_timestamp,
        }
    ).encode()


def calls(
    actor: dramatiq.Actor[..., Any], arguments: Iterable[Sequence[Any]]
) -> Iterator[list[str]]:
    """The messages of an actor, encoded: lists of at most `BATCH` ids in Redis, each followed by
    its message. They are what `actor.message(*arguments)` would be, which takes longer.

    Raises:
      TypeError: JSON cannot hold an argument.
    """
    waiting, form = iter(arguments), actor.message()
    name = f'{{"queue_name":{_json(form.queue_name)},"actor_name":{_json(form.actor_name)},"args":'
    rest = f',"kwargs":{{}},"options":{_json(form.options)[:-1]}'
    rest += ',"redis_message_id":"' if form.options else '"redis_message_id":"'
    end = f'","message_timestamp":{form.message_timestamp}}}'
    while batch := list(islice(waiting, BATCH)):
        unique, made = uuid.uuid4().hex[:16], []
        for number, values in enumerate(batch):
            its = f"{unique}{number:08x}"
            made += [its, f'{name}{_json(tuple(values))}{rest}{its}"}},"message_id":"{its}{end}']
        yield made
