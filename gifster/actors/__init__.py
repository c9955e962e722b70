"""What a worker process loads: `dramatiq gifster.actors --queues default carrierwave`.

`setup` boots the process and sets the broker. The other modules declare the actors; all are thin.
"""

from gifster.app.drivers import loading

with loading():
    from gifster.actors import accounts, assets, emails, maintenance
    from gifster.actors.setup import broker

__all__ = ["accounts", "assets", "broker", "emails", "maintenance"]
