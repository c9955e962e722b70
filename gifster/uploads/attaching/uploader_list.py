"""Several files in one column: the list of uploaders that `album.photos` is.

`list_attacher.py` saves it.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from gifster.uploads.attaching.attached_files import AttachedFiles, State
from gifster.uploads.errors import CacheIdInvalid, RemoteUrlInvalid, TooManyFiles
from gifster.uploads.files.sources import Source
from gifster.uploads.form_values import is_blank, texts_of
from gifster.uploads.uploader import Uploader

logger = logging.getLogger("gifster.uploads")

U = TypeVar("U", bound=Uploader)

#: Request headers, for all remote files or for each.
Headers = Mapping[str, str] | Sequence[Mapping[str, str]]

#: What `Uploader.identifier` looks like.
_IDENTIFIER = re.compile("[0-9a-f]{16}")


class UploaderList(AttachedFiles[U]):
    """The files of a list-valued column, in order.

    The list includes files that a worker has yet to store; these uploaders are false. Changes take
    effect with the next save. Files that others have added since the record was loaded stay, at the
    end.
    """

    def append(self, source: Source | Uploader | None, filename: str = "") -> U:
        """Add a file at the end (see `Uploader.assign()`); returns its uploader. A form's file
        field in which no file was chosen adds nothing."""
        return self._add(lambda uploader: uploader.assign(source, filename))

    def append_remote(self, url: str, headers: Mapping[str, str] | None = None) -> U:
        """Fetch a file by its URL, and add it (see `Uploader.assign_remote()`)."""
        return self._add(lambda uploader: uploader.assign_remote(url, headers))

    def append_cache_id(self, text: str) -> U:
        """Retrieve a cached file by its cache id, and add it (see `Uploader.assign_cache_id()`)."""
        return self._add(lambda uploader: uploader.assign_cache_id(text))

    def _add(self, assign: Any) -> U:
        uploader = self.mount.uploader(self.record, self.mount)
        with self._unless_refused() as before:
            assign(uploader)
            if uploader.assigned is not None:
                self._change([*self._uploaders, uploader])
                self._check_number(len(self._uploaders), len(before.uploaders))
        return uploader

    def _check_number(self, files: int, present: int) -> None:
        """Raises `TooManyFiles` for more files than the uploader allows, unless the list has had as
        many before."""
        most = self.mount.uploader.max_files
        if most is not None and files > max(most, present):
            raise TooManyFiles(f"The list would have {files} files. The limit is {most}.")

    def extend(self, sources: Iterable[Source | Uploader]) -> None:
        """Add files at the end."""
        for source in sources:
            self.append(source)

    def remove(self, uploader: U) -> None:
        """Detach one of the files with the next save."""
        place = self._uploaders.index(uploader)
        self._change([*self._uploaders[:place], *self._uploaders[place + 1 :]])

    def clear(self) -> None:
        """Detach all files with the next save."""
        self._change([])

    def remove_all(self) -> None:
        """Detach all files with the next save, unless `keep_all()` cancels that."""
        if self._removed is None:
            self._removed = State(self)
        self.clear()

    def keep_all(self) -> None:
        """Cancel `remove_all()`, if the record was not saved since."""
        if self._removed is not None:
            newer, before, self._removed = self._uploaders, self._removed, None
            before.restore()
            if newer:
                self._change([*self._uploaders, *newer])

    def replace(self, files: Iterable[Source | Uploader]) -> None:
        """Replace the list with these files, in this order. If one is refused, the list stays as it
        was.

        Parameters:
          files: uploaders of this list to keep, or their identifiers; sources of new files (see
            `Uploader.assign()`), or cache ids. A file that comes twice is copied. Empty texts are
            left out, and so are identifiers that the list does not have: somebody else has removed
            their files. If there are only empty file fields of a form, the list stays as it was.
        """
        files = list(files)  # It may be an iterator over this very list.
        present = {uploader.identifier for uploader in self._uploaders}
        texts = [text for text in files if isinstance(text, str) and not is_blank(text)]
        # Each may cost a copy of a file. A file that a form brings is counted when it is there.
        named = sum(text in present or not _IDENTIFIER.fullmatch(text) for text in texts)
        self._check_number(named, len(self._uploaders))
        with self._unless_refused() as before:
            self._change([])
            told = [self._put(file, before.uploaders) for file in files]
            if files and not any(told):
                before.restore()

    def _put(self, file: Any, before: list[U]) -> bool:
        """Put a file at the end of the new list.

        Returns:
          False if it is an empty file field of a form.
        """
        if is_blank(file):
            return True
        is_text = isinstance(file, str)
        same: Any
        if is_text and _IDENTIFIER.fullmatch(file):
            same = next((one for one in before if one.identifier == file), None)
            if same is None:
                return True
        else:
            same = next((u for u in before if u is file or (u.item and u.item == file)), None)
        if same is None and is_text and not file.startswith("data:"):
            self.append_cache_id(file)
        elif same is None:
            return self.append(file).assigned is not None
        elif same in self._uploaders:
            self.append(same.file)
        else:
            self._uploaders.append(same)
        return True

    def assign_cache_ids(self, value: str | Iterable[str] | None) -> None:
        """What `record.<column>_cache = …` does: restore the list of a form that was shown again.

        If the list has been changed since the record was loaded, the cached files are added to it.

        Parameters:
          value: from `cache_ids`, or a list of cache ids and identifiers. Nothing changes if it is
            empty.

        Raises:
          UploadError: a cache id is not valid, or the uploader refuses its file; the list stays as
            it was.
        """
        found = texts_of(_parsed(value) if isinstance(value, str) else value)
        if found is None:
            name = self.mount.uploader.__qualname__
            logger.warning("cache id refused uploader=%s reason='it is no list of texts'", name)
            raise CacheIdInvalid("These uploads have expired. Choose the files again.")
        texts = list(dict.fromkeys(found))
        if not texts:
            return
        if not self.changed:
            self.replace(texts)
            return
        ids = [text for text in texts if not _IDENTIFIER.fullmatch(text)]
        self._check_number(len(self) + len(ids), len(self))
        with self._unless_refused():
            for text in ids:
                self.append_cache_id(text)

    def assign_remote(self, value: str | Iterable[str] | None) -> None:
        """What `record.remote_<column>_urls = […]` does: fetch files, and replace the list.

        If the list has been changed since the record was loaded, the files are added to it.

        Parameters:
          value: the URLs. Nothing changes if there is none.

        Raises:
          UploadError: a file cannot be fetched, or the uploader refuses it; the list stays as it
            was.
        """
        urls = texts_of(value)
        if urls is None:
            raise RemoteUrlInvalid("These are no URLs. Give a list of texts.")
        if urls:
            self._check_number(len(urls) + (len(self) if self.changed else 0), len(self))
            with self._unless_refused():
                if not self.changed:
                    self.clear()
                self.remote_urls = urls
                for number, url in enumerate(urls):
                    self.append_remote(url, _headers_of(self.request_headers, number))
        elif value is None:
            self.remote_urls = None

    @contextmanager
    def _unless_refused(self) -> Iterator[State[U]]:
        """A `with` block after which the list is as before, if a file was refused."""
        before = State(self)
        try:
            yield before
        except BaseException:
            for uploader in self._uploaders:
                if uploader.assigned is not None and uploader not in before.uploaders:
                    uploader.assigned.discard()
            before.restore()
            raise


def _parsed(text: str) -> Any:
    """What a JSON text says: none, a list of nothing; an invalid one, nothing that is a list."""
    try:
        found = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError):  # the latter for thousands of brackets
        return False
    return found if isinstance(found, list) else False


def _headers_of(headers: Headers, number: int) -> Mapping[str, str]:
    """The request headers for one of several remote files."""
    if isinstance(headers, Mapping):
        return headers
    return headers[number] if number < len(headers) else {}
