"""A tap whose connection is lost, beside a server that is slow, silent or says what nobody knows."""

import asyncio

from livekit.protocol import models, rtc

from media.clock import SteadyClock
from media.tap.events import LayerQuality
from media.tap.tap import Tap, TapOptions, TapState
from tests.integration.publishing import eventually
from tests.media.tap.signalling_server import AUDIO, VIDEO, DeadPath, SignallingServer, Told, signalling_server


def tap_of(server: SignallingServer, told: Told) -> Tap:
    return Tap(TapOptions(server.url, lambda: "token"), told, SteadyClock())


async def test_a_source_that_somebody_made_up_ends_nothing() -> None:
    async with signalling_server() as server:
        server.publish("TR_odd", models.TrackType.AUDIO, source=99)
        told = Told()
        tap = tap_of(server, told)
        await tap.start()
        server.publish("TR_other", models.TrackType.AUDIO, source=98)
        await server.tell(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=[server.participant])))
        await eventually(lambda: len(told.participants["PA_ada"].tracks) == 2 or None)
        assert [track.source for track in told.participants["PA_ada"].tracks] == ["unknown", "unknown"]
        assert tap.state is TapState.CONNECTED
        await tap.aclose()


async def test_whatever_goes_wrong_as_it_joins_again_it_goes_on_trying() -> None:
    odd: list[Exception] = []

    def token() -> str:
        if odd:
            raise odd.pop()
        return "token"

    async with signalling_server() as server:
        tap = Tap(TapOptions(server.url, token), Told(), SteadyClock())
        await tap.start()
        odd += [ValueError("odd"), KeyError("odd")]
        server.sockets[0].transport.abort()
        await eventually(lambda: (len(server.requests) == 2 and tap.state is TapState.CONNECTED) or None)
        assert not odd
        await tap.aclose()


async def test_what_is_changed_while_the_tap_joins_again_holds() -> None:
    async with signalling_server() as server:
        server.publish(AUDIO, models.TrackType.AUDIO)
        server.publish(VIDEO, models.TrackType.VIDEO)
        server.offer_after_s = 0.0
        tap = tap_of(server, Told())
        await tap.start()
        await tap.subscribe(AUDIO)
        await tap.subscribe(VIDEO, LayerQuality.HIGH)
        first, server.offer_after_s = tap._connection, 0.4
        server.sockets[0].transport.abort()
        await eventually(lambda: tap._connection not in {None, first} or None)
        await tap.set_quality(VIDEO, LayerQuality.LOW)
        await tap.unsubscribe(AUDIO)
        await eventually(lambda: tap.state is TapState.CONNECTED or None)
        await asyncio.sleep(0.05)
        asked = server.requests[1]
        subscribed = [item.subscription for item in asked if item.WhichOneof("message") == "subscription"]
        assert [list(item.track_sids) for item in subscribed if item.subscribe] == [[VIDEO]]
        layers = [item.track_setting for item in asked if item.WhichOneof("message") == "track_setting"]
        assert layers[-1].quality == models.VideoQuality.LOW
        assert AUDIO not in tap._receivers.sids
        await tap.aclose()


async def test_what_is_no_longer_wanted_once_the_first_offer_comes_is_not_subscribed_to() -> None:
    async with signalling_server() as server:
        server.publish(AUDIO, models.TrackType.AUDIO)
        server.offer_after_s = 0.2
        tap = tap_of(server, Told())
        await tap.start()
        subscribing = asyncio.create_task(tap.subscribe(AUDIO))
        await asyncio.sleep(0.05)
        await tap.unsubscribe(AUDIO)
        await subscribing
        await asyncio.sleep(0.05)
        asked = [item.subscription for item in server.requests[0] if item.WhichOneof("message") == "subscription"]
        assert not any(item.subscribe for item in asked)
        await tap.aclose()


async def test_a_path_that_died_is_not_waited_for() -> None:
    path = DeadPath()
    async with signalling_server(path) as server:
        server.offer_after_s = 0.0
        told = Told()
        tap = tap_of(server, told)
        await tap.start()
        first = tap._connection
        assert first is not None
        await asyncio.sleep(0.1)
        path.die()
        loop = asyncio.get_running_loop()
        began = loop.time()
        first._end("nothing came from the server's media address for seconds")
        await eventually(lambda: TapState.RECONNECTING in told.states or None)
        assert len(server.requests) == 1, "told before the old connection is closed"
        await eventually(lambda: len(server.requests) == 2 or None, timeout_s=8)
        assert loop.time() - began < 8, "a WebSocket's goodbye is waited for 10 s by default"
        await tap.aclose()


async def test_a_stop_while_a_dead_connection_is_closed_leaves_no_transport_behind() -> None:
    path = DeadPath()
    async with signalling_server(path) as server:
        server.offer_after_s = 0.0
        tap = tap_of(server, Told())
        await tap.start()
        first = tap._connection
        assert first is not None
        await asyncio.sleep(0.2)
        path.die()
        first._end("nothing came")
        await asyncio.sleep(0.1)
        await tap.aclose()
        assert first._transport._closed
