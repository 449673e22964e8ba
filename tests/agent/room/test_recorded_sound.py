"""What is heard of recorded sound: real Opus from RTP packets to the report, and nothing of it in the recording."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from agent.quality_report import PAGE_NAME, read_quality_report
from agent.room.events import QualityPatternChanged, TrackRestarted
from agent.room.recorded_sound import RecordedSound
from media.e2ee.frame_decryptor import FrameDecryptor
from media.e2ee.key_provider import KeyProvider
from media.e2ee.keys import EncryptionKey, KeyChain
from media.frames import Codec, EncodedFrame
from media.process.sound_decoder import SoundDecoder
from media.record.reader import read_recording
from media.record.verify import verify_recording
from media.rtp.sound_sample import SoundRun
from quality.report import QualityReport, TrackReport
from tests.agent.room.fed_tap import SID, FedRecording, spoilt
from tests.media.e2ee import sender as encryption
from tests.media.opus_sounds import dither, encode, silence, tone

PAUSE = b"\xf8"


async def report_of(recorded: FedRecording) -> tuple[QualityReport, TrackReport]:
    path = await recorded.aclose()
    report = read_quality_report(read_recording(path))
    (track,) = report.tracks
    return report, track


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("stereo", [False, True])
async def test_the_level_of_a_tone_is_in_the_report(tmp_path: Path, red: bool, stereo: bool) -> None:
    recorded = FedRecording(tmp_path, red=red)
    recorded.play(encode(tone(6), stereo=stereo))
    report, track = await report_of(recorded)
    assert track.level_dbfs == pytest.approx(-15.3, abs=1)
    assert (track.silent_ratio, track.clipped_ratio) == (0.0, 0.0)
    assert (report.patterns, track.track.connection) == ({}, "tap")


async def test_clipped_sound_is_seen_in_the_report_and_on_its_page(tmp_path: Path) -> None:
    recorded = FedRecording(tmp_path)
    recorded.play(encode(tone(4, 60_000)))
    _, track = await report_of(recorded)
    assert (track.clipped_ratio or 0.0) > 0.1
    page = (recorded.recording.path / PAGE_NAME).read_text()
    assert "clipped" in page
    assert "dBFS" in page


@pytest.mark.parametrize("samples", [silence(25), dither(25)], ids=["silence", "dead microphone"])
async def test_a_silent_microphone_is_reported_and_nothing_is_restarted_for_it(
    tmp_path: Path, samples: NDArray[np.int16]
) -> None:
    recorded = FedRecording(tmp_path)
    with capture_logs() as logs:
        recorded.play(encode(samples, constant=True))  # in packets as large as those of sound
        report, track = await report_of(recorded)
    assert track.silent_ratio == 1.0
    assert (track.level_dbfs or 0.0) < -80
    assert report.patterns == {"silent_track": 1}
    changes = [item for item in recorded.told if isinstance(item, QualityPatternChanged)]
    assert [(item.pattern, item.began, item.connection) for item in changes] == [("silent_track", True, "tap")]
    assert recorded.quality.counters().quality_patterns == {"silent_track": 1}
    restarts = [item for item in recorded.told if isinstance(item, TrackRestarted)]
    assert [(item.remedy, item.problem) for item in restarts] == [("report", "silent")]
    assert recorded.restarter.counters().track_restarts == {"silent/report/begun": 1}
    assert recorded.fed.asked == [], "nothing was cut"
    assert [item["event"] for item in logs if "restart" in str(item["event"])] == ["track_not_restarted"]


async def test_sound_after_silence_ends_it(tmp_path: Path) -> None:
    recorded = FedRecording(tmp_path)
    recorded.play([*encode(silence(13), constant=True), *encode(tone(8), constant=True)])
    report, track = await report_of(recorded)
    (span,) = track.patterns
    assert (span.pattern, span.told_end) == ("silent_track", True)
    assert report.recording.state == "complete"


async def test_pauses_of_dtx_are_silent_and_have_no_level(tmp_path: Path) -> None:
    recorded = FedRecording(tmp_path)
    lone = encode(dither(1))[:1]
    recorded.play([*lone, PAUSE, *[None] * 18] * 25)
    assert not any(item.remedy == "restart" for item in recorded.told if isinstance(item, TrackRestarted))
    _, track = await report_of(recorded)
    assert (track.silent_ratio, track.level_dbfs, track.clipped_ratio) == (1.0, None, None)


async def test_of_what_does_not_come_nothing_is_known(tmp_path: Path) -> None:
    recorded = FedRecording(tmp_path)
    recorded.play([*encode(tone(2)), *[None] * 150])
    windows = [each.judgement.window for tick in recorded.ticks for each in tick.tracks]
    assert [window.content.content.level_dbfs is None for window in windows] == [False, True, True, True]
    await recorded.aclose()


@pytest.mark.parametrize("has_key", [True, False])
async def test_encrypted_sound_is_heard_with_its_key_only(tmp_path: Path, has_key: bool) -> None:
    keys = KeyProvider()
    if has_key:
        keys.set_key(KeyChain(EncryptionKey(b"open sesame")))
    recorded = FedRecording(tmp_path, decryptor=FrameDecryptor(keys, "ada", b"trailer"))
    key = encryption.encryption_key(b"open sesame")
    recorded.play(encryption.encrypt(key, packet, 1) for packet in encode(tone(3)))
    heard = recorded.tracks.sound.counts(SID)
    assert recorded.tracks.sound.failures == 0
    await recorded.aclose()
    if not has_key:
        assert heard is None
    else:
        assert heard is not None
        assert heard.content.level_dbfs == pytest.approx(-15.3, abs=1)


async def test_a_paused_recording_is_not_listened_to(tmp_path: Path) -> None:
    recorded = FedRecording(tmp_path)
    recorded.play(encode(tone(2)))
    recorded.recording.pause(recorded.fed.now)
    before = recorded.tracks.sound.counts(SID)
    recorded.play(encode(tone(2)))
    assert recorded.tracks.sound.counts(SID) == before
    await recorded.aclose()


class Deaf(RecordedSound):
    """Listens to nothing."""

    def take(self, track_sid: str, frames: Sequence[EncodedFrame]) -> None:
        pass


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted((folder / "tracks").rglob("*.*"))}


async def test_what_is_recorded_is_the_same_whoever_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = encode(tone(8))
    packets = [*sounds[:200], *map(spoilt, sounds[200:250]), *sounds[250:]]

    async def recorded_with(name: str, sound: RecordedSound, told: list[str]) -> dict[str, bytes]:
        recorded = FedRecording(tmp_path / name)
        recorded.tracks.sound = sound
        with capture_logs() as logs:
            recorded.play(packets)
        assert [item["event"] for item in logs if "sound" in str(item["event"])] == told
        path = await recorded.aclose()
        assert verify_recording(path).problems == ()
        return written(path)

    def fail(_decoder: SoundDecoder, _run: SoundRun) -> list[object]:
        raise RuntimeError("a bug of ours")

    unheard = await recorded_with("unheard", Deaf(), [])
    assert sum(map(len, unheard.values())) > sum(map(len, packets))
    assert await recorded_with("heard", RecordedSound(), ["recorded_sound_undecodable"]) == unheard
    monkeypatch.setattr(SoundDecoder, "decode", fail)
    assert await recorded_with("faulty", RecordedSound(), ["recorded_sound_failed"]) == unheard


async def test_what_cannot_be_decoded_is_counted_and_told_once_and_the_rest_heard(tmp_path: Path) -> None:
    sounds = encode(tone(10))
    recorded = FedRecording(tmp_path)
    with capture_logs() as logs:
        recorded.play(spoilt(packet) if 100 <= number < 300 else packet for number, packet in enumerate(sounds))
    assert [item["event"] for item in logs if "sound" in str(item["event"])] == ["recorded_sound_undecodable"]
    assert recorded.tracks.sound.failures > 1
    heard = recorded.tracks.sound.counts(SID)
    assert heard is not None
    assert heard.content.level_dbfs == pytest.approx(-15.3, abs=1)
    await recorded.aclose()


def test_pictures_are_not_listened_to_and_a_track_that_went_is_forgotten() -> None:
    sound = RecordedSound()
    sound.take("TR_camera", (EncodedFrame(Codec.VP8, b"\x10" * 50, 0, 0.0, sync_sample=True),))
    assert sound.counts("TR_camera") is None
    for number, packet in enumerate(encode(tone(1))):
        sound.take(SID, (EncodedFrame(Codec.OPUS, packet, number * 960, 0.0, sync_sample=True),))
    assert sound.counts(SID) is not None
    sound.forget(SID)
    assert sound.counts(SID) is None
