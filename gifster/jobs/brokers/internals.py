"""What the library uses of Dramatiq beyond its documented interface.

Dramatiq may change any of this in a minor release, so `pyproject.toml` allows one minor release
only. `tests/jobs/brokers/test_dramatiq_internals.py` has a test for each point below. To allow the
next release, change `RELEASE` and `pyproject.toml`, run that module and the rest of `tests/jobs`
against it, and mend what fails.

Brokers (`base.py`, `redis.py`, `rabbitmq.py`)
  1. A broker makes its consumers of `consumer_class(broker, queue_name, prefetch, timeout)`; the
     timeout is in milliseconds.
  2. `RedisBroker` turns each attribute `do_<command>` into a call of its script, through
     `_dispatch(command)`. `do_fetch(queue, count)` returns a list of bytes and None. The script is
     `scripts["dispatch"]`, and its second argument is the time (ms).
  3. `RedisBroker._should_do_maintenance(command)` decides, with 1 or 0, whether a command also
     gives back what dead workers had fetched.
  4. Its keys: `<namespace>:<queue>` is a list of message ids, `<queue>.msgs` a hash of id to
     message, `__acks__.<broker_id>.<queue>` the set of fetched ids, `__heartbeats__` a sorted set
     of broker ids by their last command (ms), and `<queue>.XQ` a sorted set of dead letters. A
     delayed message waits in `<queue>.DQ`. The id is in the option `redis_message_id`.
  5. `RabbitmqBroker` has a `connection` for each thread, which is made anew after `del`.
  6. `emit_before()` and `emit_after()` call the hooks of `middleware`, in order and in reverse;
     only a `MiddlewareError` of a `before_` hook gets out (`hooks.py`).

Consumers (`redis_consumer.py`, `rabbitmq.py`)
  7. `next()` of a consumer returns a message or None, in one thread for each queue.
  8. `ack()` and `nack()` are called by the thread that ran the job, and again by the same thread
     after a `ConnectionClosed`. A `close()` follows the last of them.
  9. `_RedisConsumer` has `broker`, `queue_name`, `prefetch` and `queued_message_ids`, and
     `requeue(messages)` calls `do_requeue(queue, *ids)`.
 10. `_RabbitmqConsumer` has `connection`, `channel`, `iterator` and `known_tags`, and `_nack(tag)`.
     Its messages have a `_tag`. Of the broker it uses only `parameters` when it is made.

Messages (`trust.py`, `outbox_rows.py`)
 11. `MessageProxy` keeps the message in `_message`, which may be replaced before the actor is
     called, and the exception in `_exception`. `Message.copy(options=…)` adds options.
 12. `Retries` counts in the option `retries`, sends a retry by `broker.enqueue(message, delay=…)`
     within its `after_process_message`, and calls `message.fail()` when there is no retry.

Workers (`heartbeat.py`, `base.py`)
 13. `before_worker_boot` comes before the worker makes consumers. The worker has `worker_threads`
     and `consumer_whitelist`. `after_worker_thread_boot` gets the thread.
 14. The `dramatiq` command calls `after_process_boot` in each worker process, after the fork. A
     worker process stops at the first SIGHUP or SIGTERM and exits at once at the second; the main
     process restarts all its workers at a SIGHUP.
 15. `dramatiq.broker.global_broker` is None until a broker is set; `get_broker()` then makes a
     RabbitMQ broker for 127.0.0.1 (`sending.py`).
 16. A worker's threads call `get(timeout=…)` of the `work_queue` that it has when they are made,
     use only the `message` of what they get, and call `task_done()`. At its end the worker empties
     it with `get_nowait()` (`work_queue.py`).
 17. In a worker process `sys.stderr` is a `StreamablePipe`, which sends each text to the main
     process by itself (`log_pipe.py`).
"""

#: The minor release of Dramatiq that all of this is true of.
RELEASE = (2, 2)
