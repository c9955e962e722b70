"""Tells the application that a job is given up: the option `on_dead` of the job's actor."""

import logging

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Interrupt

from gifster.jobs.database_errors import is_database_error
from gifster.jobs.job import outbox_database
from gifster.jobs.transactions import abandon_transaction, take_new_session

logger = logging.getLogger("gifster.jobs")


def tell_application(
    broker: dramatiq.Broker, message: MessageProxy, exception: BaseException
) -> None:
    """Call the actor's `on_dead`, and again if the database failed, as it does in a deadlock."""
    on_dead = broker.get_actor(message.actor_name).options.get("on_dead")
    if on_dead is None:
        return
    for may_try_again in (True, False):
        try:
            on_dead(exception, *message.args)
        except Interrupt:  # of Dramatiq's: the worker stops
            raise
        except BaseException as error:  # with it the thread would end, and nobody starts another
            logger.exception("on_dead failed job=%s", message.options.get("outbox_id"))
            if may_try_again and is_database_error(error):
                continue
        finally:
            # The end of the job would become a part of it.
            if abandon_transaction(outbox_database()):
                job_id = message.options.get("outbox_id")
                logger.error("rolled back what on_dead left uncommitted: job=%s", job_id)
            take_new_session(outbox_database())
        return
