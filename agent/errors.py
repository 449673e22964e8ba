"""The error tree of `agent`, and the one table of exit codes and HTTP statuses.

Every error a person can meet has a stable `code`, says what to do, and ends the command with its own
exit code (documented in docs/errors.md; a test keeps both in step).
"""

from typing import ClassVar

from media.errors import MediaError


class RoomhandError(Exception):
    """Base of all errors raised by `agent`. `str(error)` tells what is wrong and what to do."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class InvalidSettings(RoomhandError):
    """A setting, flag or request value is missing or out of range."""

    code = "invalid_settings"


class Unauthorized(RoomhandError):
    """The API key, secret or token was refused."""

    code = "unauthorized"


class TokenExpired(Unauthorized):
    """The access token's `exp` has passed."""

    code = "token_expired"


class PermissionDenied(RoomhandError):
    """The token lacks a grant."""

    code = "permission_denied"


class ServerUnreachable(RoomhandError):
    """No LiveKit server answers at the URL."""

    code = "server_unreachable"
    retryable = True


class ServerUnavailable(RoomhandError):
    """No local LiveKit server could be found, built or started."""

    code = "server_unavailable"


class RoomNotFound(RoomhandError):
    """No room of that name is being run here."""

    code = "room_not_found"


class RoomUnavailable(RoomhandError):
    """The room's process is being started, started again or drained."""

    code = "room_unavailable"
    retryable = True


class RoomConflict(RoomhandError):
    """A room of that name is being run already."""

    code = "room_conflict"


class ParticipantNotFound(RoomhandError):
    """No such participant in the room."""

    code = "participant_not_found"


class TrackNotFound(RoomhandError):
    """No such track in the room."""

    code = "track_not_found"


class PublishFailed(RoomhandError):
    """The server did not take a publication."""

    code = "publish_failed"
    retryable = True


class ConnectionLost(RoomhandError):
    """The room ended or the connection could not be restored."""

    code = "connection_lost"
    retryable = True


class RpcError(RoomhandError):
    """A call of another's method that failed; raised in a method of ours, it is what the caller is told.

    `rpc_code` is LiveKit's number: 1001 to 1999 are its own, of which 1400 to 1504 say what became of a call;
    others are the method's. `data` is for programs. LiveKit cuts `message` at 256 bytes and `data` at 15 KiB.
    """

    code = "rpc_failed"

    def __init__(self, rpc_code: int, message: str, data: str = "") -> None:
        super().__init__(message)
        self.rpc_code = rpc_code
        self.message = message
        self.data = data


class PortInUse(RoomhandError):
    """A port to listen on is taken."""

    code = "port_in_use"


class RecordingConflict(RoomhandError):
    """The room is being recorded already, or not at all."""

    code = "recording_conflict"


class QualityNotFound(RoomhandError):
    """A recording has no samples of its quality."""

    code = "quality_not_found"


class Interrupted(RoomhandError):
    """Stopped by a signal before it was done."""

    code = "interrupted"


EXIT_CODES: dict[str, int] = {
    "internal": 1,
    "invalid_settings": 2,
    "unauthorized": 10,
    "token_expired": 11,
    "permission_denied": 12,
    "server_unreachable": 13,
    "server_unavailable": 14,
    "room_not_found": 15,
    "room_conflict": 16,
    "participant_not_found": 17,
    "track_not_found": 18,
    "publish_failed": 19,
    "connection_lost": 20,
    "port_in_use": 21,
    "source_unreadable": 22,
    "disk_full": 23,
    "disk_read_only": 24,
    "storage_error": 25,
    "recording_not_found": 26,
    "recording_damaged": 27,
    "recording_conflict": 28,
    "unsupported_codec": 29,
    "export_failed": 30,
    "export_not_found": 31,
    "export_verification_failed": 32,
    "tap_error": 33,
    "rtp_malformed": 34,
    "media_error": 35,
    "room_unavailable": 36,
    "delivery_conflict": 37,
    "quality_not_found": 38,
    "export_conflict": 39,
    "invalid_encryption_key": 45,
    "rpc_failed": 46,
    "live_unsupported": 60,
    "live_not_ready": 61,
    "interrupted": 130,
}

HTTP_STATUSES: dict[str, int] = {
    "invalid_settings": 422,
    "unauthorized": 401,
    "token_expired": 401,
    "permission_denied": 403,
    "server_unreachable": 502,
    "room_not_found": 404,
    "room_conflict": 409,
    "room_unavailable": 503,
    "participant_not_found": 404,
    "track_not_found": 404,
    "publish_failed": 502,
    "connection_lost": 502,
    "source_unreadable": 422,
    "disk_full": 507,
    "disk_read_only": 507,
    "storage_error": 507,
    "recording_not_found": 404,
    "recording_damaged": 409,
    "recording_conflict": 409,
    "unsupported_codec": 422,
    "export_not_found": 404,
    "export_conflict": 409,
    "delivery_conflict": 409,
    "quality_not_found": 404,
    "invalid_encryption_key": 422,
    "rpc_failed": 502,
    "live_unsupported": 415,
    "live_not_ready": 409,
}


def exit_code(error: RoomhandError | MediaError) -> int:
    """The process exit code for `error`."""
    return EXIT_CODES[error.code]


def http_status(error: RoomhandError | MediaError) -> int:
    """The HTTP status for `error`; 500 where it is no fault of the caller and has none of its own."""
    return HTTP_STATUSES.get(error.code, 500)
