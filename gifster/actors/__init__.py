"""The workers' way in: `dramatiq gifster.actors --queues default carrierwave`.

`setup` boots the process and sets the broker; the other modules declare the actors, all thin.
"""

from gifster.actors import assets, emails, maintenance
from gifster.actors.setup import broker

__all__ = ["assets", "broker", "emails", "maintenance"]
