"""SRTP decryption in place (RFC 3711): a datagram is read into libsrtp's own buffer and copied once, decrypted.

pylibsrtp's public calls copy a packet twice and allocate for each; at thousands of packets a second that is a
tenth of what recording costs. A test pins the names of its internals that this relies on.
"""

from typing import Any

import pylibsrtp
from pylibsrtp import _binding


class SrtpReceiver:
    """The receiving side of a session. Read a datagram into `buffer`, then ask for what it holds."""

    __slots__ = ("_data", "_session", "_size", "_srtp", "buffer")

    def __init__(self, session: pylibsrtp.Session) -> None:
        self._session = session  # owns the memory behind the names below
        self._srtp = session._srtp[0]
        self._data = session._cdata
        self._size = _binding.ffi.new("int *")
        self.buffer: Any = session._buffer
        """A cffi buffer: slices of it are bytes. Writable, 1500 bytes: RTP fits an MTU."""

    def rtp(self, size: int) -> bytes | None:
        """The RTP packet in the first `size` bytes of `buffer`; None when it is replayed or not authentic."""
        self._size[0] = size
        if _binding.lib.srtp_unprotect(self._srtp, self._data, self._size):
            return None
        decrypted: bytes = self.buffer[0 : self._size[0]]
        return decrypted

    def rtcp(self, size: int) -> bytes | None:
        """As `rtp`, for an SRTCP packet."""
        self._size[0] = size
        if _binding.lib.srtp_unprotect_rtcp(self._srtp, self._data, self._size):
            return None
        decrypted: bytes = self.buffer[0 : self._size[0]]
        return decrypted
