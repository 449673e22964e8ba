"""The error tree of `media`. Third-party errors are translated into it at the border, with `from`.

`code` is documented and stable; `retryable` belongs to the type; every message says what to do.
"""

from typing import ClassVar


class MediaError(Exception):
    """Base of all errors raised by `media`."""

    code: ClassVar[str] = "media_error"
    retryable: ClassVar[bool] = False


class SourceUnreadable(MediaError):
    """A file or stream to publish cannot be opened or has no usable audio or video."""

    code = "source_unreadable"


class TapError(MediaError):
    """The tap could not join, or lost its connection for good."""

    code = "tap_error"
    retryable = True


class TapUnauthorized(TapError):
    """The server refused the token: wrong key, expired, or a grant is missing."""

    code = "unauthorized"
    retryable = False


class TapUnreachable(TapError):
    """No LiveKit server answers at the URL."""

    code = "server_unreachable"


class RtpError(MediaError):
    """Bytes that are not the RTP, RTCP or payload format they should be."""

    code = "rtp_malformed"


class StorageError(MediaError):
    """A file could not be written or read."""

    code = "storage_error"
    retryable = True


class DiskFull(StorageError):
    """No space left (ENOSPC, EDQUOT)."""

    code = "disk_full"


class DiskReadOnly(StorageError):
    """The place cannot be written to (EROFS, EACCES, EPERM).

    A person has to act; recordings, and the hand-off of their segments, ask again all the same.
    """

    code = "disk_read_only"
    retryable = False


class DataLost(StorageError):
    """The disk took data and then lost them: what can be read back is not what was written."""

    retryable = False


class RecordingNotFound(MediaError):
    """No recording at that path or of that id."""

    code = "recording_not_found"


class RecordingDamaged(MediaError):
    """A recording's files contradict its journal; `recordings repair` may help."""

    code = "recording_damaged"


class RecordingBusy(MediaError):
    """Another process writes the recording, or prunes the folder of recordings."""

    code = "recording_conflict"


class LiveUnsupported(MediaError):
    """A recording's media cannot be played while it goes on: HLS does not carry their codec."""

    code = "live_unsupported"


class LiveNotReady(MediaError):
    """Nothing of a recording can be played yet."""

    code = "live_not_ready"
    retryable = True


class UnsupportedCodec(MediaError):
    """The codec cannot be recorded or exported (yet)."""

    code = "unsupported_codec"


class InvalidEncryptionKey(MediaError):
    """A key for end-to-end encryption that cannot be one, or an index that no key ring has."""

    code = "invalid_encryption_key"


class ExportError(MediaError):
    """Base of export errors."""

    code = "export_failed"


class ExportNotFound(ExportError):
    """No export of that id."""

    code = "export_not_found"


class ExportBusy(ExportError):
    """The export has not ended: it is cancelled first, or waited for."""

    code = "export_conflict"


class ExportVerificationFailed(ExportError):
    """What was produced is not what the recording holds; the output is kept for a look."""

    code = "export_verification_failed"


class DeliveryConflict(ExportError):
    """Another file is where a finished one should go; it is never overwritten."""

    code = "delivery_conflict"
