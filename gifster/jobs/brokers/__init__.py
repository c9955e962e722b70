"""The brokers: Dramatiq's, with what Sidekiq users take for granted.

`abilities` says what a broker can do beyond Dramatiq's interface, and `connection` makes one from a
URL. `redis` (with `redis_consumer`, `wake_up` and `acks`) and `rabbitmq` are the brokers, and
`base` is what they share: `fair` divides the threads of a worker among queues and groups, `fetched`
orders the messages that wait for a thread, `foreign` puts back another application's messages, and
`malformed` rejects messages that no worker can handle. `internals` lists what all of them use of
Dramatiq beyond its public interface.
"""
