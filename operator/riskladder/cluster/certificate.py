"""The certificate of the server, read again when it is renewed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

LOOK_EVERY = 10.0
"""Seconds between looks at whether it was renewed: a kubelet takes a minute to hand a renewed Secret to a pod."""


def certificate_of(directory: str) -> Certificate | None:
    """Return the certificate of a directory; ``None`` for no directory, and, with a warning, for an empty one.

    Raises:
        OSError: One of its two files is missing, or they do not belong together.
    """
    if not directory:
        return None
    folder = Path(directory)
    if not any((folder / name).exists() for name in ("tls.crt", "tls.key")):
        log.warning("no certificate: plain HTTP until one is there and this is started again", directory=directory)
        return None
    return Certificate(folder)


class Certificate:
    """``tls.crt`` and ``tls.key`` of a directory, as a Secret of type kubernetes.io/tls is mounted."""

    def __init__(self, directory: Path) -> None:
        """Read them.

        Raises:
            OSError: They are missing, or do not belong together.
        """
        self._directory = directory
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        """For the server: connections made from now on get the certificate that was read last."""
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._load()

    def _load(self) -> tuple[bytes, bytes]:
        files = (self._directory / "tls.crt", self._directory / "tls.key")
        try:
            content = (files[0].read_bytes(), files[1].read_bytes())
            self.context.load_cert_chain(*files)
        except (OSError, ssl.SSLError) as error:
            raise OSError(f"--certificate: {self._directory}: expected tls.crt and tls.key: {error}") from error
        return content

    def renew(self) -> bool:
        """Read them again where they have changed; whether they have. What cannot be read is tried again later."""
        try:
            content = ((self._directory / "tls.crt").read_bytes(), (self._directory / "tls.key").read_bytes())
            if content == self._seen:
                return False
            self._seen = self._load()
        except OSError as error:
            log.warning("certificate not renewed", error=str(error))
            return False
        log.info("certificate renewed")
        return True

    async def keep_current(self) -> None:
        """Read them again whenever they are renewed, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.renew()
