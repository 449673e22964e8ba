"""From the packets of whole frames to frames that can be used: the second half of an inbound stream."""

from media.e2ee.frame_decryptor import FAILURES, DecryptionOutcome, FrameDecryptor
from media.errors import RtpError
from media.frames import Codec, EncodedFrame, MediaKind
from media.rtp.clock_mapping import ClockMapper
from media.rtp.depacketise.depacketiser import Assembled
from media.rtp.depacketise.formats import PayloadFormats
from media.rtp.inbound_config import InboundStreamConfig
from media.rtp.jitter_buffer import CompleteFrame
from media.rtp.keyframe_request import KeyframeRequester
from media.rtp.packet import RtpPacket
from media.rtp.receive_statistics import ReceiveStatistics
from media.rtp.rtcp import ntp_to_unix
from media.rtp.timeline import RtpTimeline


class FrameAssembler:
    """Depacketises frames, places them in time, and holds video back until a sync sample.

    Moves the counters of frames in `statistics`, tells `keyframes` what a sync sample would mend and
    `mapper` when frames arrived.
    """

    def __init__(
        self,
        config: InboundStreamConfig,
        formats: PayloadFormats,
        mapper: ClockMapper,
        statistics: ReceiveStatistics,
        keyframes: KeyframeRequester,
        decryptor: FrameDecryptor | None = None,
    ) -> None:
        """`decryptor`: the track has end-to-end encryption."""
        self._decryptor = decryptor
        self._outcome = DecryptionOutcome.DECRYPTED
        self._undecryptable = 0
        self._formats = formats
        self._mapper = mapper
        self._statistics = statistics
        self._keyframes = keyframes
        self._abs_capture_time_id = config.abs_capture_time_id
        self._drop_blank_frames = config.drop_blank_frames
        self._is_video = config.kind is MediaKind.VIDEO
        self._clock_rate = config.clock_rate
        self._timeline = RtpTimeline(config.clock_rate)
        self._codec: Codec | None = None
        self._awaiting_sync = self._is_video
        self._discontinuity = False

    @property
    def awaits_sync_sample(self) -> bool:
        """Whether frames are held back until a sync sample comes."""
        return self._awaiting_sync

    def restart(self) -> None:
        """Another SSRC takes over: its RTP time has no relation to what was."""
        self._timeline.restart()
        self._mapper.reset()
        self._awaiting_sync = self._is_video

    def locate(self, timestamp: int) -> int | None:
        """The timeline value of an RTP timestamp near the last frame's; None before the first frame."""
        return self._timeline.locate(timestamp)

    def assemble(self, complete: CompleteFrame, now: float) -> EncodedFrame | None:
        """The frame that these packets make; None when it is damaged or cannot be used."""
        packets, arrival_time, discontinuity, after_cut = complete
        if discontinuity:
            self._discontinuity = True
        try:
            assembled = self._assemble(packets)
        except RtpError:
            self._statistics.frames_dropped += 1
            self._discontinuity = True
            self._keyframes.broken_frame(now)
            return None
        if assembled is None:
            if self._decryptor is not None:
                self._withhold(packets[0], arrival_time)
            return None
        if after_cut and not assembled.sync_sample:
            # A switch of layers goes on with a key frame and misses nothing; this is no such switch.
            self._discontinuity = True
        rtp_timestamp = self._place(packets[0], arrival_time)
        if not self._is_usable(assembled, packets[0], now):
            return None
        frame = EncodedFrame(
            self._formats.codec(packets[0]),
            assembled.data,
            rtp_timestamp,
            arrival_time,
            assembled.sync_sample,
            # Before the very first frame there is nothing that could be missing.
            self._discontinuity and self._statistics.emitted_count > 0,
            assembled.width,
            assembled.height,
            self._undecryptable,
        )
        self._discontinuity = False
        self._undecryptable = 0
        self._statistics.emitted(frame, now)
        if self._is_video:
            # In the time in which it is shown: what waited here for a packet to come again freezes no recording.
            self._statistics.freezes.frame(rtp_timestamp / self._clock_rate)
        return frame

    def _assemble(self, packets: list[RtpPacket]) -> Assembled | None:
        if self._decryptor is None:
            return self._formats.assemble(packets)
        self._outcome = DecryptionOutcome.DECRYPTED
        return self._formats.assemble_encrypted(packets, self._decrypt)

    def _decrypt(self, codec: Codec, frame: bytes) -> bytes | None:
        assert self._decryptor is not None, "only encrypted tracks come here"
        self._outcome, clear = self._decryptor.decrypt(codec, frame)
        usable = self._outcome in {DecryptionOutcome.DECRYPTED, DecryptionOutcome.NOT_ENCRYPTED}
        return clear if usable else None

    def _withhold(self, first: RtpPacket, arrival_time: float) -> None:
        """A frame that nobody may see as it is. No key frame would mend that, so none is asked for."""
        if self._outcome in FAILURES:
            self._statistics.frames_undecryptable += 1
            self._undecryptable += 1
        elif self._outcome is DecryptionOutcome.SERVER_INJECTED:
            self._statistics.blank_frames_dropped += 1
        else:
            return
        self._statistics.frames_received += 1
        self._place(first, arrival_time)
        self._discontinuity = True
        self._awaiting_sync = self._is_video
        self._keyframes.sync_sample()

    def _place(self, first: RtpPacket, arrival_time: float) -> int:
        """Put the frame on the timeline and tell the clock mapper."""
        resets = self._timeline.resets
        rtp_timestamp = self._timeline.place(first.timestamp, arrival_time)
        if self._timeline.resets != resets:
            self._mapper.reset()
            self._discontinuity = True
        self._mapper.observe_frame(rtp_timestamp, arrival_time)
        if self._abs_capture_time_id is not None:
            capture_time = _capture_time(first.extension(self._abs_capture_time_id))
            if capture_time is not None:
                self._mapper.observe_capture_time(rtp_timestamp, capture_time, arrival_time)
        return rtp_timestamp

    def _is_usable(self, assembled: Assembled, first: RtpPacket, now: float) -> bool:
        """Count the frame; false for blank ones and for those that lack a sync sample before them."""
        statistics = self._statistics
        statistics.frames_received += 1
        codec = self._formats.codec(first)
        if codec is not self._codec:
            self._discontinuity = True
            self._codec = codec
            self._awaiting_sync = self._is_video
        if not self._is_video:
            return True
        if assembled.sync_sample:
            return self._accept_sync_sample(assembled)
        if self._awaiting_sync:
            statistics.frames_dropped += 1
            self._discontinuity = True
            self._keyframes.unusable_frame(now)
            return False
        if self._discontinuity:
            self._keyframes.broken_frame(now)
        return True

    def _accept_sync_sample(self, assembled: Assembled) -> bool:
        if self._drop_blank_frames and assembled.is_blank:
            # Nothing may refer to it: go on with a sync sample of the real picture.
            self._statistics.blank_frames_dropped += 1
            self._keyframes.sync_sample()
            self._awaiting_sync = True
            return False
        self._statistics.key_frames_received += 1
        self._awaiting_sync = False
        self._keyframes.sync_sample()
        return True


def _capture_time(value: bytes | None) -> float | None:
    """Capture time on the sender's NTP clock: 64-bit NTP, then optionally capture clock minus sender's."""
    if value is None or len(value) < 8:
        return None
    capture_time = ntp_to_unix(int.from_bytes(value[:8], "big"))
    if len(value) >= 16:
        capture_time -= int.from_bytes(value[8:16], "big", signed=True) / (1 << 32)
    return capture_time
