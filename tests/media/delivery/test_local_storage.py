"""Delivery into a folder: complete or not at all, never over somebody else's file."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from media.delivery.local import LocalStorage
from media.delivery.storage import Artifact
from media.errors import DataLost, DeliveryConflict, DiskFull, StorageError


def artifact(folder: Path, name: str, content: bytes = b"content") -> Artifact:
    source = folder / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(content)
    return Artifact(source, name, len(content), hashlib.sha256(content).hexdigest())


def test_files_are_moved_with_their_folders(tmp_path: Path) -> None:
    artifacts = [artifact(tmp_path / "work", "a/one.m4s"), artifact(tmp_path / "work", "a/index.m3u8")]
    places = LocalStorage(tmp_path / "out").deliver(artifacts)
    assert places == (str(tmp_path / "out/a/one.m4s"), str(tmp_path / "out/a/index.m3u8"))
    assert (tmp_path / "out/a/one.m4s").read_bytes() == b"content"
    assert not artifacts[0].source.exists()


def test_doing_it_again_after_a_crash_half_way_ends_the_same(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "out")
    first, second = artifact(tmp_path / "work", "one"), artifact(tmp_path / "work", "two")
    storage.deliver([first])
    assert storage.deliver([first, second]) == (str(tmp_path / "out/one"), str(tmp_path / "out/two"))
    assert (tmp_path / "out/two").read_bytes() == b"content"


def test_a_file_of_the_same_content_counts_as_delivered(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "out")
    storage.deliver([artifact(tmp_path / "work", "one")])
    again = artifact(tmp_path / "work", "one")
    storage.deliver([again])
    assert not again.source.exists()


def test_another_file_is_never_replaced_and_nothing_is_delivered_then(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/two").write_bytes(b"someone")
    artifacts = [artifact(tmp_path / "work", "one"), artifact(tmp_path / "work", "two")]
    with pytest.raises(DeliveryConflict, match="two"):
        LocalStorage(tmp_path / "out").deliver(artifacts)
    assert (tmp_path / "out/two").read_bytes() == b"someone"
    assert not (tmp_path / "out/one").exists()


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_link = os.link

    def somebody_is_faster(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"someone")
        real_link(source, target)

    monkeypatch.setattr(os, "link", somebody_is_faster)
    with pytest.raises(DeliveryConflict, match="appeared"):
        LocalStorage(tmp_path / "out").deliver([artifact(tmp_path / "work", "one")])
    assert (tmp_path / "out/one").read_bytes() == b"someone"


def test_a_disk_without_hard_links_gets_a_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    LocalStorage(tmp_path / "out").deliver([artifact(tmp_path / "work", "one")])
    assert (tmp_path / "out/one").read_bytes() == b"content"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_another_disk_gets_a_copy(tmp_path: Path) -> None:
    work = Path("/dev/shm") / f"roomhand-test-{os.getpid()}"
    source = artifact(work, "one")
    try:
        LocalStorage(tmp_path / "out").deliver([source])
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["one"]
        assert not source.source.exists()
    finally:
        source.source.unlink(missing_ok=True)
        work.rmdir()


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(DiskFull) as raised:
        LocalStorage(tmp_path / "out").deliver([artifact(tmp_path / "work", "one")])
    assert raised.value.retryable


@pytest.mark.parametrize("name", ["../out-of-it", "/etc/passwd", "."])
def test_names_stay_below_the_folder(tmp_path: Path, name: str) -> None:
    source = artifact(tmp_path / "work", "one").source
    with pytest.raises(StorageError):
        LocalStorage(tmp_path / "out").deliver([Artifact(source, name, 7, "")])


@pytest.mark.parametrize("found", [b"", b"cont", b"CONTENT"])
def test_a_source_that_changed_since_it_was_verified_is_an_error_and_nothing_is_delivered(
    tmp_path: Path, found: bytes
) -> None:
    artifacts = [artifact(tmp_path / "work", "one"), artifact(tmp_path / "work", "two")]
    artifacts[1].source.write_bytes(found)
    with pytest.raises(DataLost, match=r"two is not what was verified"):
        LocalStorage(tmp_path / "out").deliver(artifacts)
    assert not (tmp_path / "out").exists()
    assert artifacts[0].source.exists()


def test_a_source_that_is_gone_is_an_error(tmp_path: Path) -> None:
    gone = Artifact(tmp_path / "gone", "one", 7, "")
    with pytest.raises(StorageError, match="gone"):
        LocalStorage(tmp_path / "out").deliver([gone])
