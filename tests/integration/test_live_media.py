"""Sound and pictures that programs make, and those they read: two agents and a real server."""

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from livekit.rtc import SimulateScenarioKind

from agent import (
    NOTHING,
    AudioFormat,
    AudioFrame,
    LiveSource,
    PublishOptions,
    RoomAgent,
    RoomRequest,
    TrackState,
    VideoFormat,
    VideoFrame,
    load_settings,
)
from agent.credentials import Credentials
from agent.errors import InvalidSettings, TrackNotFound
from agent.room.events import ConnectionStateChanged, LocalTrackPublished
from agent.room.state import ConnectionState
from media.frames import MediaKind
from media.record.reader import RecordingView, read_recording
from tests.integration.participants import room_name
from tests.integration.publishing import eventually

pytestmark = pytest.mark.server

Sound = npt.NDArray[np.int16]
Pixels = npt.NDArray[np.uint8]
LOUD = 1_000  # of the tones' 8,000; noise of an encoder is far below


@asynccontextmanager
async def pair(server: Credentials, folder: Path, **more: str) -> AsyncIterator[tuple[RoomAgent, RoomAgent]]:
    """One who speaks and one who listens, who takes nothing by itself."""
    settings, room = load_settings().model_copy(update={"recordings_dir": folder}), room_name()
    key = more.get("e2ee_key")
    async with (
        RoomAgent(server, RoomRequest(room, "speaker", e2ee_key=key), settings) as speaker,
        RoomAgent(server, RoomRequest(room, "listener", policy=NOTHING, e2ee_key=key), settings) as listener,
    ):
        yield speaker, listener


async def track_of(agent: RoomAgent, kind: str) -> TrackState:
    return await eventually(lambda: next((track for track in agent.state().tracks if track.kind == kind), None))


def tone(frequency: float, seconds: float, rate: int) -> Sound:
    time = np.arange(round(seconds * rate)) / rate
    return (8_000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def pitch(samples: Sound, rate: int) -> float:
    """The strongest frequency of mono sound."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def color(level: int) -> Pixels:
    return np.full((180, 320, 3), level, np.uint8)


def decoded(view: RecordingView, kind: MediaKind) -> list[tuple[float, Any]]:
    """What was recorded of the only track of a kind, each with its seconds since the recording began."""
    (track,) = [track for track in view.tracks if track.descriptor.kind is kind]
    parts = [track.init_of(track.segments[0]).path, *(segment.path for segment in track.segments)]
    data = b"".join((view.path / part).read_bytes() for part in parts)
    with av.open(io.BytesIO(data), "r") as container:
        return [
            (track.media_time_s(round(frame.time * track.timescale)), frame)
            for packet in container.demux()
            for frame in packet.decode()
            if isinstance(frame, av.VideoFrame | av.AudioFrame) and frame.time is not None
        ]


class Ear:
    """Keeps what is heard, as blocks of 20 ms, and says which of them are loud."""

    def __init__(self, frames: AsyncGenerator[AudioFrame, None]) -> None:
        self._frames = frames
        self.frames: list[AudioFrame] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async with aclosing(self._frames) as frames:
            async for frame in frames:
                self.frames.append(frame)

    @property
    def samples(self) -> Sound:
        return np.concatenate([frame.samples[:, 0] for frame in self.frames] or [np.zeros(0, np.int16)])

    def loud(self, rate: int, since: int = 0) -> Sound:
        """The loud blocks from that sample on; a busy machine may leave silence between."""
        block = rate // 50
        samples = self.samples[since:]
        blocks = samples[: len(samples) // block * block].reshape(-1, block)
        loud: Sound = blocks[np.abs(blocks.astype(np.int32)).max(axis=1, initial=0) > LOUD].ravel()
        return loud

    async def hears(self, seconds: float, rate: int, since: int = 0) -> Sound:
        """So many loud seconds, from that sample on."""

        def enough() -> Sound | None:
            loud = self.loud(rate, since)
            return loud if len(loud) >= seconds * rate else None

        return await eventually(enough, timeout_s=15)


async def newest(frames: AsyncGenerator[VideoFrame, None], which: Callable[[VideoFrame], bool]) -> VideoFrame:
    async with asyncio.timeout(15):
        async for frame in frames:
            if which(frame):
                return frame
    raise AssertionError("it ended")


@pytest.mark.parametrize(("rate", "channels"), [(24_000, 1), (44_100, 2), (8_000, 1)])
async def test_tones_are_heard_as_they_are_before_and_after_a_silence(
    livekit_server: Credentials, tmp_path: Path, rate: int, channels: int
) -> None:
    source = LiveSource(audio=AudioFormat(rate, channels))
    async with pair(livekit_server, tmp_path) as (speaker, listener):
        await speaker.publish(source)
        track = await track_of(listener, "audio")
        ear = Ear(listener.audio_frames(track.sid, sample_rate=16_000))
        await eventually(lambda: len(ear.samples) > 16_000 or None)
        for frequency in (440, 1_250):
            before, sound = len(ear.samples), tone(frequency, 1.5, rate)
            for part in np.array_split(np.repeat(sound[:, np.newaxis], channels, axis=1), 41):
                assert await source.push_audio(part)
            await source.drain()
            assert pitch(await ear.hears(1.4, 16_000, before), 16_000) == pytest.approx(frequency, abs=5)
            await asyncio.sleep(4)
            # A busy machine has the receiver stretch it; heard twice, or a half of it, it would be off by more.
            assert len(ear.loud(16_000, before)) / 16_000 == pytest.approx(1.5, abs=0.5)
        assert {(frame.track_sid, frame.sample_rate, frame.channels, frame.missed) for frame in ear.frames} == {
            (track.sid, 16_000, 1, 0)
        }
    async with asyncio.timeout(5):
        await ear.task


async def test_pictures_arrive_and_the_last_one_stays(livekit_server: Credentials, tmp_path: Path) -> None:
    source = LiveSource(video=VideoFormat(320, 180, 20))
    async with pair(livekit_server, tmp_path) as (speaker, listener):
        await speaker.publish(source)
        assert source.push_video(color(200))
        track = await track_of(listener, "video")
        async with aclosing(listener.video_frames(track.sid)) as frames:
            frame = await newest(frames, lambda frame: True)
            assert (frame.track_sid, frame.width, frame.height) == (track.sid, 320, 180)
            assert frame.i420.shape == (270, 320)
            assert frame.rgb().shape == (180, 320, 3)
            assert frame.rgb().mean() == pytest.approx(200, abs=6)
            for _ in range(10):  # nothing is pushed: the last one comes again
                frame = await newest(frames, lambda frame: True)
            assert frame.rgb().mean() == pytest.approx(200, abs=6)
            luma = np.full((270, 320), 128, np.uint8)
            luma[:180] = 60
            source.push_video(luma)
            assert (await newest(frames, lambda frame: frame.i420[:180].mean() < 80)).rgb().std() < 5
        await eventually(lambda: None if listener.state().tracks[0].subscription else True)


async def test_clear_cuts_what_is_said_and_who_pushes_is_told(livekit_server: Credentials, tmp_path: Path) -> None:
    source = LiveSource(audio=AudioFormat(48_000), video=VideoFormat(320, 180, 20))
    async with pair(livekit_server, tmp_path) as (speaker, listener):
        await speaker.publish(source)
        track = await track_of(listener, "audio")
        ear = Ear(listener.audio_frames(track.sid))
        await eventually(lambda: len(ear.samples) > 48_000 or None)
        saying = asyncio.create_task(source.push_audio(tone(440, 20.0, 48_000)))
        await ear.hears(0.5, 48_000)
        source.clear()
        assert not await saying
        await eventually(lambda: np.abs(ear.samples[-24_000:]).max() < LOUD or None)
        assert len(ear.loud(48_000)) < 3 * 48_000
        before = len(ear.samples)
        assert await source.push_audio(tone(1_000, 1.0, 48_000))
        assert pitch(await ear.hears(0.9, 48_000, before), 48_000) == pytest.approx(1_000, abs=5)
        source.end()
        async with asyncio.timeout(10):
            await ear.task
        await eventually(lambda: True if speaker.state().publications == () else None)
        assert not await source.push_audio(tone(440, 0.1, 48_000))
        assert not source.push_video(color(1))
        with pytest.raises(InvalidSettings, match="ended"):
            await speaker.publish(source)


async def test_both_go_on_where_the_tracks_are_published_anew(livekit_server: Credentials, tmp_path: Path) -> None:
    source = LiveSource(audio=AudioFormat(48_000), video=VideoFormat(320, 180, 20))
    told: list[LocalTrackPublished] = []
    async with pair(livekit_server, tmp_path) as (speaker, listener):
        speaker.add_listener(lambda event: told.append(event) if isinstance(event, LocalTrackPublished) else None)
        video, audio = await speaker.publish(source, PublishOptions(adaptive=False))
        with pytest.raises(InvalidSettings, match="already"):
            await speaker.publish(source, PublishOptions(name="twice"))
        await track_of(listener, "audio")
        source.push_video(color(100))
        ear = Ear(listener.audio_frames(audio.sid))
        await eventually(lambda: len(ear.samples) > 24_000 or None)
        async with aclosing(listener.video_frames(video.sid)) as frames:
            assert (await newest(frames, lambda frame: True)).track_sid == video.sid
            for name in ("camera", "microphone"):
                await speaker._publisher.republish(name)
            sids = {event.name: event.sid for event in told if event.previous_sid}
            assert set(sids) == {"camera", "microphone"}
            frame = await newest(frames, lambda frame: frame.track_sid == sids["camera"])
            assert frame.rgb().mean() == pytest.approx(100, abs=6)
            await eventually(lambda: ear.frames[-1].track_sid == sids["microphone"] or None)
            speaker._publisher.limit("camera", max_fps=None, lines=90)  # as a narrow way out does
            assert (await newest(frames, lambda frame: frame.height <= 90)).width == 160  # the encoder takes 88
        assert await source.push_audio(tone(440, 1.0, 48_000))
        assert pitch(await ear.hears(0.9, 48_000), 48_000) == pytest.approx(440, abs=5)
        await speaker.unpublish("microphone")
        async with asyncio.timeout(10):
            await ear.task


@pytest.mark.parametrize("who", ["speaker", "listener"])
async def test_a_new_session_of_either_goes_on(livekit_server: Credentials, tmp_path: Path, who: str) -> None:
    source = LiveSource(audio=AudioFormat(48_000), video=VideoFormat(320, 180, 20))
    async with pair(livekit_server, tmp_path) as (speaker, listener):
        video, audio = await speaker.publish(source)
        source.push_video(color(150))
        await track_of(listener, "video")
        await track_of(listener, "audio")
        ear = Ear(listener.audio_frames(audio.sid))
        frames = listener.video_frames(video.sid)
        await newest(frames, lambda frame: True)
        agent = speaker if who == "speaker" else listener
        states: list[ConnectionState] = []
        agent.add_listener(
            lambda event: states.append(event.state) if isinstance(event, ConnectionStateChanged) else None
        )
        await agent._session.simulate(SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await eventually(lambda: ConnectionState.CONNECTED in states or None, timeout_s=20)
        async with aclosing(frames):
            source.push_video(color(50))
            seen = await newest(frames, lambda frame: bool(frame.rgb().mean() < 70))
            assert (seen.track_sid == video.sid) == (who == "listener")
        before = len(ear.samples)
        assert await source.push_audio(tone(440, 1.0, 48_000))
        assert pitch(await ear.hears(0.9, 48_000, before), 48_000) == pytest.approx(440, abs=5)


async def test_it_is_recorded_with_pictures_at_their_sound(livekit_server: Credentials, tmp_path: Path) -> None:
    source = LiveSource(audio=AudioFormat(16_000), video=VideoFormat(320, 180, 25))
    async with pair(livekit_server, tmp_path) as (speaker, listener):
        await listener.start_recording()
        await speaker.publish(source)
        source.push_video(color(0))

        def recorded() -> bool | None:
            counts = listener.counters().recording_frames
            return min(counts.get("audio", 0), counts.get("video", 0)) > 20 or None

        await eventually(recorded)
        ear = Ear(listener.audio_frames((await track_of(listener, "audio")).sid))  # what is recorded is read, too
        await eventually(lambda: len(ear.samples) > 24_000 or None)
        for part in np.array_split(tone(500, 2.0, 16_000), 50):  # far ahead of its time, as speech is made
            assert source.push_video(color(255), with_sound=True)
            assert await source.push_audio(part)
        source.push_video(color(0), with_sound=True)
        await source.drain()
        assert pitch(await ear.hears(1.9, 48_000), 48_000) == pytest.approx(500, abs=5)
        await asyncio.sleep(0.5)
        status = await listener.stop_recording()
    view = read_recording(Path(status.path))
    sounds = [(at, frame.to_ndarray()) for at, frame in decoded(view, MediaKind.AUDIO)]
    loud = [at for at, samples in sounds if np.abs(samples).max() > 0.1]
    white = [at for at, frame in decoded(view, MediaKind.VIDEO) if frame.to_ndarray(format="gray").mean() > 128]
    assert loud[-1] - loud[0] == pytest.approx(2.0, abs=0.2)
    assert white[-1] - white[0] == pytest.approx(2.0, abs=0.2)
    assert white[0] == pytest.approx(loud[0], abs=0.2)


async def test_leaving_ends_whoever_never_ends(livekit_server: Credentials, tmp_path: Path) -> None:
    """A source without a picture yet, one who pushes without an end, one who reads, and a thread that pushes."""
    source = LiveSource(audio=AudioFormat(48_000), video=VideoFormat(320, 180, 20))
    loop = asyncio.get_running_loop()

    async def speak() -> None:
        while await source.push_audio(tone(440, 60.0, 48_000)):
            pass

    def speak_elsewhere() -> None:
        while asyncio.run_coroutine_threadsafe(source.push_audio(tone(440, 0.7, 48_000)), loop).result():
            source.push_video(color(9), with_sound=True)  # one that waits behind the other

    thread = threading.Thread(target=speak_elsewhere)
    async with pair(livekit_server, tmp_path) as (speaker, listener):
        await speaker.publish(source)
        track = await track_of(listener, "audio")
        ear = Ear(listener.audio_frames(track.sid))
        speaking = asyncio.create_task(speak())
        thread.start()
        await ear.hears(1.0, 48_000)
    async with asyncio.timeout(5):
        await asyncio.gather(ear.task, speaking)
        await asyncio.to_thread(thread.join)
    assert source.ended


async def test_what_cannot_be_read_says_so(livekit_server: Credentials, tmp_path: Path) -> None:
    settings, room = load_settings().model_copy(update={"recordings_dir": tmp_path}), room_name()
    source = LiveSource(audio=AudioFormat(48_000), video=VideoFormat(320, 180, 20))
    async with (
        RoomAgent(livekit_server, RoomRequest(room, "speaker", e2ee_key="secret"), settings) as speaker,
        RoomAgent(livekit_server, RoomRequest(room, "stranger"), settings) as stranger,
        RoomAgent(livekit_server, RoomRequest(room, "friend", e2ee_key="secret"), settings) as friend,
        RoomAgent(livekit_server, RoomRequest(room, "mistaken", e2ee_key="other"), settings) as mistaken,
    ):
        await speaker.publish(source)
        for agent in (stranger, friend, mistaken):
            track = await track_of(agent, "audio")
        with pytest.raises(InvalidSettings, match="e2ee_key"):
            stranger.audio_frames(track.sid)
        with pytest.raises(InvalidSettings, match="read it as audio_frames"):
            friend.video_frames(track.sid)
        with pytest.raises(InvalidSettings, match="sample_rate"):
            friend.audio_frames(track.sid, sample_rate=22_050)
        with pytest.raises(TrackNotFound):
            friend.audio_frames("TR_nothing")
        deaf = Ear(mistaken.audio_frames(track.sid))
        await asyncio.sleep(1)
        ear = Ear(friend.audio_frames(track.sid))
        await eventually(lambda: len(ear.samples) > 24_000 or None)
        begun = len(deaf.samples)  # before: the SDK's decryption begins some packets late, whose ciphertext is noise
        await source.push_audio(tone(700, 1.0, 48_000))
        assert pitch(await ear.hears(0.9, 48_000), 48_000) == pytest.approx(700, abs=5)
        assert len(deaf.loud(48_000, begun)) == 0
        picture = await track_of(mistaken, "video")
        async with (
            aclosing(friend.video_frames(picture.sid)) as frames,
            aclosing(mistaken.video_frames(picture.sid)) as none,
        ):
            source.push_video(color(200))
            blind = asyncio.ensure_future(anext(none))
            assert (await newest(frames, lambda frame: True)).width == 320
            await asyncio.sleep(1.5)
            assert not blind.done()
            blind.cancel()
            await asyncio.gather(blind, return_exceptions=True)
        with pytest.raises(InvalidSettings, match="is no source"):
            await speaker.publish(3)  # type: ignore[arg-type]  # that it is refused is what is tested
