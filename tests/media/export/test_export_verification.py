"""Verification notices what is wrong with an output, and names it."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from media.delivery.local import file_sha256
from media.errors import ExportVerificationFailed, StorageError
from media.export.verification import verify_output
from media.frames import Codec, MediaKind
from media.package.packager import package_hls
from media.process.mp4 import write_mp4
from media.process.output import ExportOutput
from media.process.timeline import plan_programs
from media.record.reader import read_recording
from tests.media.export.recordings import Track, camera_and_microphone, encode_audio, encode_video, write_recording

FOLDER = "Meeting #5? 50%20 off: fine"


@pytest.fixture
def draft(tmp_path: Path) -> ExportOutput:
    """An MP4 that is as it should be."""
    view = read_recording(write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264)))
    (program,) = plan_programs(view, None)
    return write_mp4(view, program, tmp_path, lambda _: None)


def with_track(draft: ExportOutput, kind: MediaKind, changed: dict[str, object]) -> ExportOutput:
    """`draft` as it would be if the recording were another."""
    tracks = [
        replace(track, **changed) if track.kind is kind else track  # type: ignore[arg-type]  # any field
        for track in draft.tracks
    ]
    return replace(draft, tracks=tuple(tracks))


def test_a_good_output_gets_its_size_and_hash(draft: ExportOutput, tmp_path: Path) -> None:
    output = verify_output(draft, tmp_path, lambda _: None)
    (file,) = output.files
    assert file.sha256 == file_sha256(tmp_path / file.path)
    assert file.size_bytes == (tmp_path / file.path).stat().st_size
    names = {check.name for check in output.checks}
    assert {"opens", "video_samples", "audio_samples", "video_payload_sha256", "audio_video_offset_s"} <= names
    assert all(check.ok for check in output.checks)


@pytest.mark.parametrize(
    ("kind", "changed", "name"),
    [
        (MediaKind.VIDEO, {"samples": 71}, "video_samples"),
        (MediaKind.AUDIO, {"silence_packets": 1}, "audio_samples"),
        (MediaKind.VIDEO, {"samples": 69, "repeated_pictures": 1}, "video_repeated_pictures"),
        (MediaKind.VIDEO, {"payload_sha256": "0" * 64}, "video_payload_sha256"),
        (MediaKind.VIDEO, {"duration_s": 3.0}, "video_duration_s"),
        (MediaKind.VIDEO, {"start_s": 0.3}, "audio_video_offset_s"),
        (MediaKind.AUDIO, {"codec": Codec.H264}, "audio_codec"),
    ],
)
def test_every_difference_is_named(
    draft: ExportOutput, tmp_path: Path, kind: MediaKind, changed: dict[str, object], name: str
) -> None:
    with pytest.raises(ExportVerificationFailed, match=name):
        verify_output(with_track(draft, kind, changed), tmp_path, lambda _: None)


def test_an_hls_rendition_that_does_not_end_with_the_other_is_noticed(tmp_path: Path) -> None:
    tracks = [Track("microphone", encode_audio(0.0, 3.0)), Track("camera", encode_video(Codec.H264, 0.0, 2.0))]
    view = read_recording(write_recording(tmp_path / "recording", tracks))
    (program,) = plan_programs(view, None)
    output = package_hls(view, program, tmp_path, lambda _: None)
    verify_output(output, tmp_path, lambda _: None)
    with pytest.raises(ExportVerificationFailed, match="audio_video_end_offset_s"):
        verify_output(with_track(output, MediaKind.AUDIO, {"duration_s": 2.9}), tmp_path, lambda _: None)


def test_what_was_verified_is_durable(draft: ExportOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    verify_output(draft, tmp_path, lambda _: None)
    assert synced == [tmp_path / draft.entry, tmp_path]


def test_a_disk_that_fails_is_told(draft: ExportOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="check the disk"):
        verify_output(draft, tmp_path, lambda _: None)


@pytest.fixture
def hls_draft(tmp_path: Path) -> ExportOutput:
    """An HLS presentation that is as it should be, in a folder whose name means something in a URL."""
    view = read_recording(write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264)))
    (program,) = plan_programs(view, None)
    (tmp_path / FOLDER).mkdir()
    return package_hls(view, program, tmp_path / FOLDER, lambda _: None)


def test_an_hls_presentation_may_be_in_any_folder(hls_draft: ExportOutput, tmp_path: Path) -> None:
    output = verify_output(hls_draft, tmp_path / FOLDER, lambda _: None)
    assert {"video_payload_sha256", "audio_payload_sha256"} <= {check.name for check in output.checks}


@pytest.mark.parametrize("lost", ["index.m3u8", "audio.m3u8", "video-init-0.mp4", "video-000001.m4s"])
def test_a_file_of_an_hls_presentation_that_is_gone_is_noticed(
    hls_draft: ExportOutput, tmp_path: Path, lost: str
) -> None:
    (tmp_path / FOLDER / hls_draft.entry).with_name(lost).unlink()
    with pytest.raises(ExportVerificationFailed):
        verify_output(hls_draft, tmp_path / FOLDER, lambda _: None)


def test_a_track_too_few_is_noticed(draft: ExportOutput, tmp_path: Path) -> None:
    with pytest.raises(ExportVerificationFailed, match="tracks: expected video, found audio,video"):
        verify_output(replace(draft, tracks=draft.tracks[:1]), tmp_path, lambda _: None)


def test_a_file_that_does_not_open_is_noticed(draft: ExportOutput, tmp_path: Path) -> None:
    (tmp_path / draft.entry).write_bytes(b"not a film")
    with pytest.raises(ExportVerificationFailed, match="opens"):
        verify_output(draft, tmp_path, lambda _: None)


def test_a_file_that_lost_its_end_is_noticed(draft: ExportOutput, tmp_path: Path) -> None:
    path = tmp_path / draft.entry
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ExportVerificationFailed):
        verify_output(draft, tmp_path, lambda _: None)
