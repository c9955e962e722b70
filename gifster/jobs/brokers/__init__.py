"""The brokers: Dramatiq's, with what Sidekiq users take for granted.

`connection` makes one from a URL. `redis` and `rabbitmq` are the brokers; `fair` shares the threads
of a worker among queues and groups, with what `fetched` has in hand; `acks` acknowledges many jobs
together; `foreign` gives back what is another application's, and `malformed` leaves out what nobody
can do.
"""
