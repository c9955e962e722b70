"""What Redis says when it takes no commands now, and what somebody can do about it.

A server that answers may still refuse: its memory is full, it cannot save, it is a replica, it
wants another password. None of that is the fault of a message, so everything waits until the server
takes commands again. Only what is wrong with one message or one key concerns that message alone.
"""

import re

import redis

#: What a node of a cluster refuses with.
_OF_CLUSTER = ("CLUSTERDOWN", "MOVED", "ASK", "CROSSSLOT", "TRYAGAIN")
#: What a refusal begins with, and what it means to somebody who runs the server. The codes are
#: those of Redis and Valkey; without one, the words of its `ERR`.
_ADVICE = {
    "OOM": "the server's memory is full. Raise its maxmemory, or remove what else is in it",
    "MISCONF": "the server cannot save to its disk, so it takes no writes. Its log says why",
    "READONLY": "the server is a replica, which takes no writes. Name its primary in the URL",
    "NOREPLICAS": "the server misses replicas (min-replicas-to-write)",
    "MASTERDOWN": "the server is a replica, and has lost its primary",
    "NOAUTH": "the server wants a password. Write it into the broker's URL",
    "WRONGPASS": "the server takes another user or password than those in the broker's URL",
    "NOPERM": (
        "the server's user lacks rights: give it all commands, and the keys and channels of the "
        "namespace (ACL SETUSER name +@all ~dramatiq:* &dramatiq:*)"
    ),
    "BUSY": "a script has been running in the server for long. SCRIPT KILL ends it",
    "LOADING": "the server was started, and is still reading its data",
    **dict.fromkeys(
        _OF_CLUSTER, "the server is a node of a cluster. Jobs need a server that is none"
    ),
    "max number of clients": "the server has as many clients as it takes. Raise its maxclients",
    "unknown command": "a command is disabled or renamed in the server that jobs need",
}
#: The keys of `_ADVICE` that are words of an `ERR`.
_WORDS = [words for words in _ADVICE if not words.isupper()]
#: redis-py cuts the code off where it has a class for it.
_CLASSES: dict[type[Exception], str] = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.AuthenticationError: "WRONGPASS",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.AskError: "ASK",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT",
    redis.exceptions.TryAgainError: "TRYAGAIN",
}
#: A server before Redis 7 puts what a script ran into behind the place in the script.
_CODE = re.compile(r"^(?:.*@user_script: ?\d+: )?-?([A-Z]+) ", re.DOTALL)

#: Where in which script it was, and what a command was called with: they differ, and what is wrong
#: is the same. The arguments may be a job's.
_DETAILS = re.compile(r"( script: \S*,? ?on @user_script:\d+\.?|, with args beginning with: .*)$")


def refusal(error: BaseException) -> str | None:
    """What a refusal of the server means and what to do about it; None if the error is none, or
    concerns one message alone."""
    if not isinstance(error, redis.RedisError):
        return None
    text, code = str(error), _code(error)
    if code == "WRONGPASS" and "Authentication required" in text:
        code = "NOAUTH"
    if code in _ADVICE:
        return _ADVICE[code]
    return next((_ADVICE[words] for words in _WORDS if words in text), None)


def _code(error: redis.RedisError) -> str:
    for kind, code in _CLASSES.items():
        if isinstance(error, kind):
            return code
    found = _CODE.match(f"{error} ")
    return found[1] if found else ""


def is_full(error: redis.RedisError) -> bool:
    """Whether the server's memory is full."""
    return _code(error) == "OOM"


def concerns_all(error: BaseException) -> bool:
    """Whether the server is away or takes no commands now, whatever they say."""
    return isinstance(error, redis.ConnectionError | redis.TimeoutError) or (
        refusal(error) is not None
    )


def explained(error: BaseException) -> str:
    """The error in one line, with what it means and what to do, if that is known."""
    text = _DETAILS.sub("", " ".join(str(error).split())) or type(error).__name__
    meaning = refusal(error)
    return text if meaning is None else f"{meaning} ({text})"


def leave_a_replica(pool: redis.ConnectionPool, error: BaseException) -> None:
    """Close the idle connections to a server that became a replica: its name may lead to the new
    primary by now, and a connection that works stays with the old one."""
    if isinstance(error, redis.RedisError) and _code(error) == "READONLY":
        pool.disconnect(inuse_connections=False)
