"""From a recording's samples to its report: JSON and a page that nothing a person names can break."""

import itertools
import json
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.errors import InvalidSettings, QualityNotFound
from agent.quality_report import (
    PAGE_NAME,
    REPORT_NAME,
    read_quality_report,
    report_json,
    write_quality_report,
)
from media.errors import RecordingNotFound
from media.record.reader import QUALITY_NAME, list_recordings, read_events, read_recording
from media.record.recorder import Recording
from media.record.repair import repair_recording
from media.record.verify import verify_recording
from quality.report import QualityReport
from quality.report_html import render
from quality.report_spans import UNTOLD
from quality.stats import VideoQuality
from tests.agent.judged_recordings import Second, camera, judged_recording, microphone
from tests.quality.traces import EPOCH

HOSTILE = "\"><script>alert(1)</script>&'`\u202e</title>"


def troubled(at: int) -> Second:
    """Loss in the second half minute, then a layer too low."""
    if 30 <= at < 60:
        return Second(loss=0.1)
    return Second(layer=VideoQuality.LOW) if 80 <= at < 110 else Second()


def calm(_at: int) -> Second:
    return Second()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two minutes of a troubled camera and a good microphone."""
    return judged_recording(tmp_path, "one", (camera("ada", troubled), microphone("ada", calm)), 120)


def report_of(path: Path) -> QualityReport:
    return read_quality_report(read_recording(path))


def test_the_report_tells_what_happened(recording: Path) -> None:
    report = report_of(recording)
    video = next(item for item in report.tracks if item.track.kind == "video")
    audio = next(item for item in report.tracks if item.track.kind == "audio")
    assert (report.recording.room, report.recording.state, report.duration_s) == ("lobby", "complete", 120.0)
    assert audio.qualities["excellent"] == 1.0
    assert audio.patterns == ()
    assert video.sizes == ("1280x720", "320x180")
    loss = next(span for span in video.patterns if span.pattern == "steady_loss")
    assert 30 <= loss.began_at_s <= 42
    assert 60 <= loss.ended_at_s <= 75
    began = [line for line in read_events(recording, QUALITY_NAME) if line["type"] == "quality_pattern_began"]
    assert len(video.patterns) == len(began), "samples add none to those that events told"
    assert UNTOLD not in {span.reason for span in video.patterns}
    assert video.score_min < 50
    assert video.loss_ratio == pytest.approx(30 * 0.1 / 120, rel=0.3)
    ada, own = report.participants
    assert (ada.own, own.own, own.participant_identity) == (False, True, "recorder")
    assert ada.agreement.compared > 50
    assert ada.agreement.same < ada.agreement.compared, "the server saw none of it here"
    assert ada.server_mos == 4.5


def test_json_is_whole_and_has_a_version(recording: Path) -> None:
    values = report_json(report_of(recording))
    text = json.dumps(values, allow_nan=False)
    assert json.loads(text)["version"] == 1
    assert set(values) == {
        "version",
        "recording",
        "duration_s",
        "score",
        "mos",
        "quality",
        "qualities",
        "patterns",
        "agreement",
        "tracks",
        "participants",
        "unreadable_lines",
    }
    assert not re.search(r"\d\.\d{5}", text)


OF_VERSION_1 = {
    "recording": """
        recording_id room state started_at ended_at
    """,
    "agreement": """
        same adjacent further
    """,
    "track": """
        track starts_at_s ends_at_s judged_s score score_min mos quality model_mos qualities packets
        packets_lost packets_repaired loss_ratio bitrate_bps fps jitter_s jitter_buffer_delay_s
        round_trip_time_s freeze_count freeze_s nack_count pli_count key_frames concealed_ratio
        level_dbfs silent_ratio clipped_ratio black_ratio still_ratio sizes patterns points
    """,
    "label": """
        track_sid name kind source participant_identity mime_type connection
    """,
    "track_point": """
        at_s duration_s score score_min quality model_mos reasons loss_ratio bitrate_bps fps
        frame_width frame_height requested_quality layer_distance jitter_s round_trip_time_s
        available_bandwidth_bps freeze_s muted stream_paused level_dbfs
    """,
    "pattern": """
        track_sid participant_identity pattern began_at_s ended_at_s told_end reason figures count
    """,
    "participant": """
        participant_identity own score score_min mos quality qualities server_mos server_qualities
        agreement points
    """,
    "participant_point": """
        at_s score score_min quality as_server_quality server_quality server_mos muted
    """,
}


def test_no_field_of_version_1_is_gone(recording: Path) -> None:
    report = report_json(report_of(recording))
    track = next(item for item in report["tracks"] if item["patterns"])
    participant = report["participants"][0]
    found = {
        "recording": report["recording"],
        "agreement": report["agreement"],
        "track": track,
        "label": track["track"],
        "track_point": track["points"][0],
        "pattern": track["patterns"][0],
        "participant": participant,
        "participant_point": participant["points"][0],
    }
    assert report["version"] == 1
    gone = {name: set(names.split()) - set(found[name]) for name, names in OF_VERSION_1.items()}
    assert not any(gone.values()), gone


def test_files_are_written_beside_the_media_and_harm_nothing(recording: Path) -> None:
    write_quality_report(recording, report_of(recording))
    assert json.loads((recording / REPORT_NAME).read_text())["recording"]["recording_id"] == "one"
    assert (recording / PAGE_NAME).read_text().startswith("<!doctype html>")
    assert verify_recording(recording).problems == ()
    (summary,) = list_recordings(recording.parent)
    assert (summary.problem, summary.size_bytes) == ("", 0)
    repair_recording(recording)
    assert report_of(recording).tracks


def test_a_closed_recordings_report_is_read_from_its_file_until_samples_come_after_it(recording: Path) -> None:
    made = report_of(recording)
    write_quality_report(recording, report_of(recording))
    stored = report_of(recording)
    assert report_json(stored) == report_json(made)
    text = (recording / REPORT_NAME).read_text()
    (recording / REPORT_NAME).write_text(text.replace('"camera"', '"another name"'))
    assert "another name" in {item.track.name for item in report_of(recording).tracks}, "it is the file that was read"
    later = (recording / REPORT_NAME).stat().st_mtime_ns + 1
    os.utime(recording / QUALITY_NAME, ns=(later, later))
    assert report_of(recording) == made
    for broken in ("{", text.replace('"version": 1', '"version": 2')):
        (recording / REPORT_NAME).write_text(broken)
        assert report_of(recording) == made


def test_a_pattern_of_a_track_that_left_ends_on_the_page_when_it_left(tmp_path: Path) -> None:
    def leaves(at: int) -> Second | None:
        return Second(loss=0.2) if at < 60 else None

    tracks = (camera("ada", leaves), microphone("ada", calm))
    report = report_of(judged_recording(tmp_path, "left", tracks, 120))
    (loss,) = [span for span in report.spans if span.pattern == "steady_loss"]
    assert loss.told_end
    page = render(report)
    row = re.search(r"<tr><td[^>]*>([^<]*)<span.*?</span></td><td[^>]*>steady loss", page)
    assert row is not None
    assert row[1].strip().endswith(("to 0:59", "to 1:00", "to 1:01"))
    assert "the end" not in row[1]


def test_torn_foreign_and_impossible_lines_are_left_out(recording: Path) -> None:
    before = report_of(recording)
    lines = [
        b'{"type":"track_quality","at":1,"participant_identity":"x","payload":{"track_sid":"TR"}}',
        b'{"type":"track_quality","at":1e999,"participant_identity":"x","payload":{}}',
        b'{"type":"quality_track","payload":[]}',
        b'{"type":"of a later version","at":1,"participant_identity":"x","payload":{}}',
        b"[" * 100_000,
        b'{"type":"track_quality","at":1,"participant_identity":"x","payload":' + b"[" * 100_000,
        b'{"type":"track_qual',
    ]
    with (recording / QUALITY_NAME).open("ab") as file:
        file.write(b"\n".join(lines))
    after = report_of(recording)
    assert after.unreadable_lines == 5
    assert after.tracks == before.tracks


def test_files_of_before_participants_had_a_duration_are_read(recording: Path) -> None:
    lines = [json.loads(line) for line in (recording / QUALITY_NAME).read_text().splitlines()]
    for line in lines:
        if line["type"] == "participant_quality":
            line["payload"].pop("duration_s", None)
            del line["payload"]["score_min"]
    (recording / QUALITY_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = report_of(recording)
    assert report.unreadable_lines == 0
    assert report.participants[0].score_min == min(point.score for point in report.participants[0].points)


def test_a_recording_without_samples_has_no_report(tmp_path: Path) -> None:
    made = Recording.create(tmp_path, "empty", "lobby", started_at=EPOCH)
    with pytest.raises(QualityNotFound, match="recording empty has no quality samples yet"):
        report_of(made.path)
    made.close(EPOCH + 5)
    with pytest.raises(QualityNotFound, match="recording empty has no quality samples: no track was received"):
        report_of(made.path)


def test_a_recording_whose_samples_are_all_broken_or_that_is_deleted_meanwhile_says_so(recording: Path) -> None:
    view = read_recording(recording)
    (recording / QUALITY_NAME).write_text("{}\n" * 7)
    with pytest.raises(QualityNotFound, match="none of the 7 lines in quality"):
        read_quality_report(view)
    shutil.rmtree(recording)
    with pytest.raises(RecordingNotFound, match="deleted meanwhile"):
        read_quality_report(view)


class Page(HTMLParser):
    """What a page is made of; fails where tags do not close in order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


def test_the_page_stands_alone_and_each_plot_has_a_title(recording: Path) -> None:
    text = render(report_of(recording))
    page = Page(text)
    assert "script" not in page.tags
    assert not [value for name, value in page.attributes if name in {"src", "srcset"} or name.startswith("on")]
    links = [value for name, value in page.attributes if name == "href"]
    assert len(links) >= 2
    assert {link[:1] for link in links} == {"#"}
    assert {link[1:] for link in links} <= {value for name, value in page.attributes if name == "id"}
    assert "url(" not in text
    assert "@import" not in text
    plots = [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(plots) >= 10
    ids = [child.get("id") for plot in plots for child in plot if child.tag in {"title", "desc"}]
    assert len(ids) == len(set(ids)) == 2 * len(plots)
    for plot in plots:
        title, description = plot.findtext("title"), plot.findtext("desc")
        assert title
        assert description
        assert plot.get("role") == "img"
        assert plot.get("aria-labelledby") == " ".join(str(child.get("id")) for child in plot if "id" in child.attrib)
    assert "steady loss" in page.text
    assert "8.9% of packets lost" in page.text
    assert "prefers-color-scheme:dark" in text
    assert 'name="viewport"' in text


def test_words_fill_the_time_without_holes(recording: Path) -> None:
    text = render(report_of(recording))
    ours = next(found for found in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if "Our word for ada" in found)
    rects = [
        (float(item.get("x", "")), float(item.get("width", ""))) for item in ElementTree.fromstring(ours).iter("rect")
    ]
    assert len(rects) >= 3
    for (x, width), (after, _) in itertools.pairwise(rects):
        assert x + width == pytest.approx(after, abs=0.2)


def test_names_of_people_stay_text(tmp_path: Path) -> None:
    path = judged_recording(
        tmp_path, "hostile", (camera(HOSTILE, troubled, name=HOSTILE, sid="TR_1"),), 60, room=HOSTILE
    )
    text = render(report_of(path))
    page = Page(text)
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert "<script" not in text
    assert f"Room {HOSTILE}" in page.text


def test_a_page_of_nothing_but_silence_is_whole(tmp_path: Path) -> None:
    path = judged_recording(tmp_path, "muted", (microphone("ada", lambda _at: Second(muted=True)),), 6)
    page = Page(render(report_of(path)))
    assert "None was seen." in page.text
    assert "All tracks were muted all the time." in page.text
    assert page.text.count("muted all the time") >= 2, "nor is a score of 100 said of the track or its participant"
    assert "excellent · 100" not in page.text


def plots_of(page: str, title: str) -> list[list[tuple[float, float]]]:
    """The lines of the one plot whose title begins so: the points of each."""
    (plot,) = [found for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if f'-t">{title}' in found]
    paths = [item.get("points", "") for item in ElementTree.fromstring(plot).iter("polyline")]
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in path.split())] for path in paths]


def test_lines_of_a_track_that_is_muted_again_and_again_do_not_overlap(tmp_path: Path) -> None:
    def by_turns(at: int) -> Second:
        return Second(muted=at % 3 == 1)

    crowd = tuple(microphone(f"guest {number}", calm) for number in range(80))
    path = judged_recording(tmp_path, "turns", (microphone("ada", by_turns), *crowd), 60)
    report = report_of(path)
    ada = next(item for item in report.tracks if item.track.participant_identity == "ada")
    overlaps = [after.at_s - after.duration_s < before.at_s for before, after in itertools.pairwise(ada.points)]
    assert any(overlaps), "lines of the samples stand for the same seconds here"
    for title in ("Score of microphone of ada", "Bitrate of microphone of ada"):
        places = [x for path in plots_of(render(report), title) for x, _ in path]
        assert len(places) > 10
        assert places == sorted(places)


def test_an_outage_is_seen_as_one(recording: Path) -> None:
    lines = [json.loads(line) for line in (recording / QUALITY_NAME).read_text().splitlines()]
    kept = [line for line in lines if not EPOCH + 62 < line["at"] < EPOCH + 80]
    (recording / QUALITY_NAME).write_text("".join(json.dumps(line) + "\n" for line in kept))
    page = render(report_of(recording))
    for title in ("The server&#x27;s word for ada", "Our word for ada"):
        (found,) = [plot for plot in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if f'-t">{title}' in plot]
        rects = [
            (float(rect.get("x", "")), float(rect.get("x", "")) + float(rect.get("width", "")))
            for rect in ElementTree.fromstring(found).iter("rect")
        ]
        ((begin, end),) = [(end, after) for (_, end), (after, _) in itertools.pairwise(rects) if after - end > 50]
        assert begin == pytest.approx(1000 * 62 / 120, abs=20)
        assert end == pytest.approx(1000 * 80 / 120, abs=20)


def test_who_left_and_came_back_has_two_tracks_that_are_told_apart(tmp_path: Path) -> None:
    def first(at: int) -> Second | None:
        return Second() if at < 50 else None

    tracks = (camera("ada", first, sid="TR_1"), camera("ada", troubled, sid="TR_2"))
    page = Page(render(report_of(judged_recording(tmp_path, "back", tracks, 120))))
    assert "camera of ada video · camera · vp8 · 0:00 to 0:50" in page.text


def test_values_are_in_a_table_too_and_say_the_same(recording: Path) -> None:
    text = render(report_of(recording))
    (table,) = [
        found for found in re.findall(r"<details>.*?</details>", text, re.DOTALL) if "Frames per second" in found
    ]
    rows = re.findall(r"<tr><th[^>]*>(.*?)</th>(.*?)</tr>", table)
    assert 10 <= len([row for row in rows if "to" in row[0]]) <= 24
    cells = {when: re.findall(r"<td>(.*?)</td>", values) for when, values in rows}
    score, seen, bitrate, lost, picture, fps, frozen = cells["0:42 to 0:48"]
    assert (picture, fps, frozen) == ("1280x720", "30.0", "0 s")
    assert float(lost.rstrip("%")) == pytest.approx(10, abs=0.5)
    assert bitrate.endswith("Mb/s")
    assert float(score.partition(" ")[0]) < 50
    assert float(seen) > 1


def test_a_recording_that_goes_on_says_so(tmp_path: Path) -> None:
    path = judged_recording(tmp_path, "one", (camera("ada", calm),), 20)
    report = report_of(path)
    going_on = replace(report, recording=replace(report.recording, state="recording", ended_at=None))
    assert "still being recorded" in Page(render(going_on)).text
    assert "still being recorded" not in Page(render(report)).text


def test_the_command_lists_what_was_wrong_in_the_order_of_time(tmp_path: Path) -> None:
    def twice(at: int) -> Second:
        return Second(loss=0.1 if 20 <= at < 40 or 100 <= at < 125 else 0.0)

    recording = judged_recording(tmp_path, "two", (camera("ada", twice),), 140)
    told = CliRunner().invoke(app, ["recordings", "quality", str(recording)])
    assert told.exit_code == 0, told.output
    rows = re.findall(r"^(\d+):(\d\d) to \d+:\d\d +steady_loss +ada +camera +", told.output, re.MULTILINE)
    begins = [60 * int(minutes) + int(seconds) for minutes, seconds in rows]
    assert len(begins) >= 2
    assert begins == sorted(begins)
    assert begins[0] < 100 <= begins[-1]


def test_the_command_says_of_what_was_always_muted_nothing_else(tmp_path: Path) -> None:
    recording = judged_recording(tmp_path, "muted", (microphone("ada", lambda _at: Second(muted=True)),), 6)
    told = CliRunner().invoke(app, ["recordings", "quality", str(recording)]).output
    assert "muted: all tracks were muted all the time" in told
    assert "excellent" not in told


def test_the_page_is_written_over_no_file_of_the_recording(recording: Path) -> None:
    samples = (recording / QUALITY_NAME).read_bytes()
    refused = CliRunner().invoke(
        app, ["recordings", "quality", str(recording), "--html", str(recording / QUALITY_NAME)]
    )
    assert isinstance(refused.exception, InvalidSettings)
    assert (recording / QUALITY_NAME).read_bytes() == samples
    for page in (recording / PAGE_NAME, recording.parent / "page.html"):
        told = CliRunner().invoke(app, ["recordings", "quality", str(recording), "--html", str(page)])
        assert told.exit_code == 0, told.output
        assert page.read_text().startswith("<!doctype html>")
