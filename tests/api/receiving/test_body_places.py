"""How many bodies are read at a time (`gifster.api.bodies`)."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from gifster.api.body_places import QUICK_BYTES_A_TICK, Bodies, Place


async def waits(bodies: Bodies, whose: str = "ann") -> "asyncio.Task[Place]":
    """Another body that wants a place, and has had the time to get one."""

    async def enter() -> Place:
        async with bodies.place(whose) as place:
            return place

    task = asyncio.ensure_future(enter())
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def test_a_body_waits_until_another_one_has_been_read():
    async def check() -> None:
        bodies = Bodies(places=2)
        async with AsyncExitStack() as first:
            await first.enter_async_context(bodies.place("ann"))
            async with bodies.place("ann"):
                third = await waits(bodies)
                assert not third.done()
                await first.aclose()
                await third

    asyncio.run(check())


def test_a_slow_body_gives_its_place_up_and_is_read_on():
    async def check() -> None:
        bodies = Bodies(places=1)
        async with bodies.place("ann"):  # nothing comes
            second = await waits(bodies)
            assert not second.done()
            await asyncio.wait_for(second, 20)
        async with bodies.place("ann"):  # and there is one place, not two
            third = await waits(bodies)
            assert not third.done()
            third.cancel()

    asyncio.run(check())


def test_a_quick_body_keeps_its_place():
    async def check() -> None:
        bodies = Bodies(places=1)
        async with bodies.place("ann") as place:
            place.received = QUICK_BYTES_A_TICK
            place._tick()
            second = await waits(bodies)
            assert not second.done()
            place._tick()  # nothing more has come since
            await second

    asyncio.run(check())


def test_a_body_that_is_quick_for_long_waits_for_another_turn():
    async def check() -> None:
        bodies = Bodies(places=1)
        async with bodies.place("ann") as place:
            assert not place.must_wait()
            place._until = 0
            place.received = QUICK_BYTES_A_TICK
            place._tick()

            # Given that its time is over: what has come before does not count, but what comes now
            async with bodies.place("bob"):
                place.received += QUICK_BYTES_A_TICK - 1
                assert not place.must_wait()
                place.received += 1
                assert place.must_wait()
                waiting = asyncio.ensure_future(place.again())
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not waiting.done()
            await asyncio.wait_for(waiting, 20)
            assert not place.must_wait()
            third = await waits(bodies)
            assert not third.done()
        await third

    asyncio.run(check())


def test_a_request_that_is_cancelled_while_it_waits_takes_no_place():
    async def check() -> None:
        bodies = Bodies(places=1)
        async with bodies.place("ann"):
            waiting = await waits(bodies)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with asyncio.timeout(20), bodies.place("ann"):
            pass

    asyncio.run(check())


def test_a_client_with_many_bodies_keeps_nobody_else_waiting():
    async def check() -> None:
        bodies = Bodies(places=2)
        async with AsyncExitStack() as first, bodies.place("ann"):
            await first.enter_async_context(bodies.place("ann"))
            anns = [await waits(bodies, "ann") for _ in range(3)]
            bob = await waits(bodies, "bob")
            await first.aclose()  # one place is free
            await bob
            assert not anns[1].done()
        await asyncio.gather(*anns)

    asyncio.run(check())
