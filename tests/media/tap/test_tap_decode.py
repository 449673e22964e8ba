"""From the server's protobufs to the tap's values."""

from livekit.protocol import models, rtc

from media.tap.decode import decode
from media.tap.events import LayerQuality, ParticipantsUpdated, SpeakersChanged, VideoLayer


def test_speakers_are_told_by_participant() -> None:
    speakers = [
        models.SpeakerInfo(sid="PA_a", level=0.7, active=True),
        models.SpeakerInfo(sid="PA_b", level=0.0, active=False),
    ]
    message = rtc.SignalResponse(speakers_changed=rtc.SpeakersChanged(speakers=speakers))
    assert decode(message) == [SpeakersChanged({"PA_a": True, "PA_b": False})]


def test_a_tracks_layers_are_those_its_publisher_declares() -> None:
    layers = [
        models.VideoLayer(quality=models.VideoQuality.LOW, width=320, height=180, bitrate=150_000),
        models.VideoLayer(quality=models.VideoQuality.HIGH, width=1280, height=720),
        models.VideoLayer(quality=models.VideoQuality.OFF),
    ]
    track = models.TrackInfo(sid="TR_v", type=models.TrackType.VIDEO, layers=layers)
    participant = models.ParticipantInfo(sid="PA_a", tracks=[track])
    message = rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=[participant]))
    (update,) = decode(message)
    assert isinstance(update, ParticipantsUpdated)
    assert update.participants[0].tracks[0].layers == (
        VideoLayer(LayerQuality.LOW, 320, 180, 150_000),
        VideoLayer(LayerQuality.HIGH, 1280, 720, 0),
    )
