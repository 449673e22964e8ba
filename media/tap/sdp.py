"""The subscriber connection's offer and our answer to it (RFC 8866, 8829, 9143), pure.

LiveKit's server offers; each media section is one track it would send. We answer each section
ourselves rather than through a peer connection, so that exactly the codecs, retransmission and
header extensions that the recorder wants are negotiated, and every SSRC is known beforehand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from media.errors import TapError
from media.frames import Codec

ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_WIDE_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
# The AV1 payload format's own extension: numbers frames and tells where they end.
DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
ACCEPTED_EXTENSIONS = (ABS_CAPTURE_TIME, ABS_SEND_TIME, TRANSPORT_WIDE_CC, DEPENDENCY_DESCRIPTOR)
# A server offers the bandwidth feedback that it reads: goog-remb, or transport-cc if so configured.
BANDWIDTH_FEEDBACK = ("goog-remb", "transport-cc")
ACCEPTED_FEEDBACK = ("nack", "nack pli", *BANDWIDTH_FEEDBACK)
RECORDABLE_ENCODINGS = {
    "opus": Codec.OPUS,
    "vp8": Codec.VP8,
    "vp9": Codec.VP9,
    "av1": Codec.AV1,
    "h264": Codec.H264,
    "h265": Codec.H265,
}


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """An `a=rtpmap` with its `a=fmtp` and `a=rtcp-fb` lines; `apt` is set for rtx (RFC 4588)."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int | None = None
    fmtp: str = ""
    feedback: tuple[str, ...] = ()

    @property
    def apt(self) -> int | None:
        """The payload type that an rtx format retransmits."""
        for parameter in self.fmtp.split(";"):
            name, _, value = parameter.strip().partition("=")
            if name == "apt" and value.isdigit():
                return int(value)
        return None

    @property
    def red_primary(self) -> int | None:
        """The payload type in all blocks of a red format (RFC 2198 section 5), where it is one."""
        types = set(self.fmtp.strip().split("/"))
        return int(types.pop()) if len(types) == 1 and self.fmtp.replace("/", "").strip().isdigit() else None


@dataclass(frozen=True, slots=True)
class MediaSection:
    """One m-line of the offer. `ssrcs` keeps the order of the `a=ssrc` lines without repeats."""

    kind: str
    mid: str
    protocol: str
    direction: str = "sendrecv"
    track_id: str = ""
    stream_id: str = ""
    formats: tuple[PayloadFormat, ...] = ()
    extensions: tuple[tuple[int, str], ...] = ()
    ssrcs: tuple[int, ...] = ()
    rtx_ssrcs: tuple[tuple[int, int], ...] = ()
    sctp_port: int = 5000


@dataclass(frozen=True, slots=True)
class Offer:
    """What of an offer matters to a receiver that bundles everything on one transport."""

    ice_ufrag: str
    ice_pwd: str
    ice_lite: bool
    fingerprints: tuple[tuple[str, str], ...]
    sections: tuple[MediaSection, ...]
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our side of the transport, for the answer."""

    ice_ufrag: str
    ice_pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReceiveFormats:
    """What was accepted of one section: codec by payload type; rtx to its original, red to its primary."""

    codecs: dict[int, Codec] = field(default_factory=dict)
    rtx: dict[int, int] = field(default_factory=dict)
    red: dict[int, int] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)


def parse_offer(text: str) -> Offer:
    """Read an offer; TapError where it has no transport or no bundle we could answer."""
    session, *blocks = _split_sections(text)
    sections = tuple(_parse_section(block) for block in blocks)
    everything = [*session, *(line for block in blocks for line in block)]
    ufrag, pwd = _first(everything, "ice-ufrag"), _first(everything, "ice-pwd")
    split = (value.partition(" ") for value in _values(everything, "fingerprint"))
    fingerprints = tuple(dict.fromkeys((algorithm, value) for algorithm, _, value in split))
    if not sections or not ufrag or not pwd or not fingerprints:
        raise TapError("the server's offer lacks media sections, ICE credentials or a DTLS fingerprint")
    return Offer(
        ice_ufrag=ufrag,
        ice_pwd=pwd,
        ice_lite="a=ice-lite" in session,
        fingerprints=fingerprints,
        sections=sections,
        candidates=tuple(_values(everything, "candidate")),
    )


def without_bandwidth_feedback(offer: Offer) -> Offer:
    """The offer without what a server learns our bandwidth from; it then sends all that was asked for."""
    return replace(offer, sections=tuple(map(_without_bandwidth_feedback, offer.sections)))


def _without_bandwidth_feedback(section: MediaSection) -> MediaSection:
    extensions = tuple(item for item in section.extensions if item[1] not in {ABS_SEND_TIME, TRANSPORT_WIDE_CC})
    formats = tuple(
        replace(item, feedback=tuple(kind for kind in item.feedback if kind not in BANDWIDTH_FEEDBACK))
        for item in section.formats
    )
    return replace(section, extensions=extensions, formats=formats)


def receive_formats(section: MediaSection) -> ReceiveFormats:
    """The formats of `section` that are recorded here, with their rtx and extensions; may be empty."""
    codecs = {
        item.payload_type: RECORDABLE_ENCODINGS[item.encoding.lower()]
        for item in section.formats
        if item.encoding.lower() in RECORDABLE_ENCODINGS and _depacketisable(item)
    }
    rtx = {
        item.payload_type: item.apt
        for item in section.formats
        if item.encoding.lower() == "rtx" and item.apt is not None and item.apt in codecs
    }
    red = {
        item.payload_type: primary
        for item in section.formats
        if item.encoding.lower() == "red" and (primary := item.red_primary) in codecs
    }
    has_av1 = Codec.AV1 in codecs.values()
    extensions = {
        uri: number
        for number, uri in section.extensions
        if uri in ACCEPTED_EXTENSIONS and (has_av1 or uri != DEPENDENCY_DESCRIPTOR)
    }
    return ReceiveFormats(codecs, rtx, red, extensions)


def _depacketisable(item: PayloadFormat) -> bool:
    # Without packetization-mode=1 large pictures would need slices of one packet each (RFC 6184 6.2).
    return item.encoding.lower() != "h264" or "packetization-mode=1" in item.fmtp


def build_answer(offer: Offer, local: LocalTransport) -> str:
    """The answer: data accepted, media received with the formats of `receive_formats`, else rejected."""
    accepted = [item for item in offer.sections if item.kind == "application" or receive_formats(item).codecs]
    lines = [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(section.mid for section in accepted)}",
        "a=msid-semantic:WMS *",
    ]
    for section in offer.sections:
        if section not in accepted:
            lines += [f"m={section.kind} 0 {section.protocol} 0", "c=IN IP4 0.0.0.0"]
            lines += [f"a=mid:{section.mid}", "a=inactive"]
        elif section.kind == "application":
            lines += [
                f"m=application 9 {section.protocol} webrtc-datachannel",
                *_transport_lines(section, local),
                f"a=sctp-port:{section.sctp_port}",
                "a=max-message-size:262144",
            ]
        else:
            lines += _media_lines(section, local)
    return "\r\n".join(lines) + "\r\n"


def _transport_lines(section: MediaSection, local: LocalTransport) -> list[str]:
    return [
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        f"a=ice-ufrag:{local.ice_ufrag}",
        f"a=ice-pwd:{local.ice_pwd}",
        *(f"a=fingerprint:{algorithm} {value}" for algorithm, value in local.fingerprints),
        "a=setup:active",
        *(f"a=candidate:{candidate}" for candidate in local.candidates),
        "a=end-of-candidates",
    ]


def _media_lines(section: MediaSection, local: LocalTransport) -> list[str]:
    chosen = receive_formats(section)
    types = {*chosen.codecs, *chosen.rtx, *chosen.red}
    formats = [item for item in section.formats if item.payload_type in types]
    receives = section.direction in {"sendrecv", "sendonly"}
    lines = [
        f"m={section.kind} 9 {section.protocol} {' '.join(str(item.payload_type) for item in formats)}",
        *_transport_lines(section, local),
        "a=recvonly" if receives else "a=inactive",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        *(f"a=extmap:{number} {uri}" for uri, number in chosen.extensions.items()),
    ]
    for item in formats:
        channels = f"/{item.channels}" if item.channels else ""
        lines.append(f"a=rtpmap:{item.payload_type} {item.encoding}/{item.clock_rate}{channels}")
        if item.fmtp:
            lines.append(f"a=fmtp:{item.payload_type} {item.fmtp}")
        lines += [f"a=rtcp-fb:{item.payload_type} {kind}" for kind in item.feedback if kind in ACCEPTED_FEEDBACK]
    return lines


def _split_sections(text: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            blocks.append([])
        if line:
            blocks[-1].append(line)
    return blocks


def _values(lines: Iterable[str], name: str) -> list[str]:
    prefix = f"a={name}:"
    return [line[len(prefix) :].strip() for line in lines if line.startswith(prefix)]


def _first(lines: Iterable[str], name: str) -> str:
    return next(iter(_values(lines, name)), "")


def _parse_section(lines: list[str]) -> MediaSection:
    kind, _port, protocol, *_formats = lines[0][2:].split()
    direction = next(
        (line[2:] for line in lines if line in {"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"}), "sendrecv"
    )
    stream_id, _, track_id = _first(lines, "msid").partition(" ")
    ssrcs = dict.fromkeys(int(value.split()[0]) for value in _values(lines, "ssrc"))
    return MediaSection(
        kind=kind,
        mid=_first(lines, "mid"),
        protocol=protocol,
        direction=direction,
        track_id=track_id,
        stream_id=stream_id,
        formats=_parse_formats(lines),
        extensions=tuple(_parse_extmap(value) for value in _values(lines, "extmap")),
        ssrcs=tuple(ssrcs),
        rtx_ssrcs=tuple(_parse_fid_groups(lines)),
        sctp_port=int(_first(lines, "sctp-port") or 5000),
    )


def _parse_formats(lines: list[str]) -> tuple[PayloadFormat, ...]:
    fmtp = dict(value.split(" ", 1) for value in _values(lines, "fmtp") if " " in value)
    feedback: dict[str, list[str]] = {}
    for value in _values(lines, "rtcp-fb"):
        payload_type, _, kind = value.partition(" ")
        feedback.setdefault(payload_type, []).append(kind)
    formats = []
    for value in _values(lines, "rtpmap"):
        payload_type, _, mapping = value.partition(" ")
        encoding, clock_rate, *channels = mapping.split("/")
        formats.append(
            PayloadFormat(
                payload_type=int(payload_type),
                encoding=encoding,
                clock_rate=int(clock_rate),
                channels=int(channels[0]) if channels else None,
                fmtp=fmtp.get(payload_type, ""),
                feedback=tuple(feedback.get(payload_type, ())) + tuple(feedback.get("*", ())),
            )
        )
    return tuple(formats)


def _parse_extmap(value: str) -> tuple[int, str]:
    number, _, uri = value.partition(" ")
    return int(number.split("/")[0]), uri.split()[0]


def _parse_fid_groups(lines: list[str]) -> Iterable[tuple[int, int]]:
    for value in _values(lines, "ssrc-group"):
        semantics, *ssrcs = value.split()
        if semantics == "FID" and len(ssrcs) == 2:
            yield int(ssrcs[1]), int(ssrcs[0])
