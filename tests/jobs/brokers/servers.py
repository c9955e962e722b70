"""The brokers that the contract is tested on, with what a test reads or does on their servers."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable

import dramatiq
import redis


class Server(ABC):
    """A broker made by `connect()`, and one queue on its server."""

    url: str

    def __init__(self, broker: dramatiq.Broker) -> None:
        self.broker = broker
        self.queue = f"contract-{secrets.token_hex(4)}"
        broker.emit_after("process_boot")

    @abstractmethod
    def waiting(self) -> int:
        """How many messages wait for a worker."""

    @abstractmethod
    def delayed(self) -> int:
        """How many messages wait for a later moment."""

    @abstractmethod
    def dead(self) -> int:
        """How many dead letters there are."""

    @abstractmethod
    def put(self, data: bytes) -> None:
        """Put any data into the queue."""

    @abstractmethod
    def cut_off(self) -> None:
        """Close all connections of all clients."""

    def actor(self, work: Callable[..., object], **options: object) -> dramatiq.Actor:
        return dramatiq.actor(work, queue_name=self.queue, actor_name="work", **options)


class OnRedis(Server):
    def __init__(self, broker: dramatiq.Broker, url: str) -> None:
        super().__init__(broker)
        self.url, self.client = url, redis.Redis.from_url(url)

    def waiting(self) -> int:
        return self.client.llen(f"dramatiq:{self.queue}")

    def delayed(self) -> int:
        return self.client.llen(f"dramatiq:{self.queue}.DQ")

    def dead(self) -> int:
        return self.client.zcard(f"dramatiq:{self.queue}.XQ")

    def put(self, data: bytes) -> None:
        self.client.hset(f"dramatiq:{self.queue}.msgs", "put", data)
        self.client.rpush(f"dramatiq:{self.queue}", "put")

    def cut_off(self) -> None:
        self.client.execute_command("CLIENT", "KILL", "SKIPME", "yes")


class OnRabbitmq(Server):
    def __init__(self, broker: dramatiq.Broker, url: str) -> None:
        super().__init__(broker)
        self.url = url
        broker.declare_queue(self.queue, ensure=True)

    def waiting(self) -> int:
        return self.broker.get_queue_message_counts(self.queue)[0]

    def delayed(self) -> int:
        return self.broker.get_queue_message_counts(self.queue)[1]

    def dead(self) -> int:
        return self.broker.get_queue_message_counts(self.queue)[2]

    def put(self, data: bytes) -> None:
        self.broker.channel.basic_publish("", self.queue, data)

    def cut_off(self) -> None:
        for connection in list(self.broker.connections):
            connection.close()
