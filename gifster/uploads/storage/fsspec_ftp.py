"""Reading from an FTP server over the connection of fsspec's file system."""

import ftplib
import io
import socket
from contextlib import suppress
from typing import Any


class FtpFile:
    """A file that one command (RETR) sends from each place on to which somebody seeks.

    fsspec's own file asks for each piece anew and breaks it off (ABOR). Servers answer that once
    or twice, so it may wait for an answer that never comes.

    Raises:
      FileNotFoundError: there is no such file.
    """

    def __init__(self, fs: Any, path: str) -> None:
        info = fs.info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        self.size = int(info["size"])
        self._fs, self._path, self._at = fs, path, 0
        self._data: socket.socket | None = None

    def read(self, size: int) -> bytes:
        if self._data is None:
            if self._at >= self.size:
                return b""
            self._fs.ftp.voidcmd("TYPE I")
            self._data = self._fs.ftp.transfercmd(f"RETR {self._path}", self._at or None)
        data = self._data.recv(size)
        self._at += len(data)
        if not data:
            self._data.close()
            self._data = None
            self._fs.ftp.voidresp()
        return data

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if at != self._at:
            self.close()
            self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        """Break off what the server sends, and take its answer to that."""
        if self._data is None:
            return
        self._data.close()
        self._data = None
        try:
            with suppress(ftplib.Error):  # 426, connection closed
                self._fs.ftp.voidresp()
        except (OSError, EOFError):
            self._fs.ftp.close()  # so the next request opens another
