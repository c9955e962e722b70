"""Makes the files of one upload: the original with its processing steps, and the versions.

`declaring` declares them, `plan` decides which ones are made of what, and `imaging.render`
makes all that are recipes for one file together, in a sandbox. `storing` stores the files.
"""

import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from gifster import imaging
from gifster.imaging.fingerprint import Fingerprint
from gifster.imaging.recipe import Image
from gifster.uploads.errors import imaging_errors_translated
from gifster.uploads.instrumentation import instrument
from gifster.uploads.storage.temporaries import temporary_folder
from gifster.uploads.versions.declaring import Process, Version, processes_of, shown_by
from gifster.uploads.versions.made_files import (
    ORIGINAL,
    ProcessedFile,
    facts_of,
    original_of,
    run_step,
)
from gifster.uploads.versions.plan import PlannedVersion, plan_versions

__all__ = ["ORIGINAL", "Making", "ProcessedFile", "original_of", "processed"]


@contextmanager
def processed(  # noqa: PLR0913
    uploader: Any,
    source: ProcessedFile,
    *,
    steps: bool = True,
    versions: Collection[str] | None = None,
    later: bool = True,
    known_hash: bool = False,
) -> Iterator["Making"]:
    """Make an upload's files, in a temporary folder that exists for the `with` block.

    Parameters:
      uploader: the uploader that declares the processing steps and the versions.
      source: the uploaded file, from `original_of()`.
      steps: whether to apply the processing steps. A stored original has already gone through them.
      versions: the versions to make; None means all.
      later: whether to make the `later` versions, too.
      known_hash: whether the difference hash of the original is known, so that the fingerprint may
        have another one.

    Raises:
      UploadError: a step that makes a file refuses the upload.
    """
    with temporary_folder() as folder:
        making = Making(uploader, source, folder, known_hash=known_hash)
        making.plan(steps, versions, later=later)
        try:
            yield making
        finally:
            making.close()


#: What is made, one after the other.
Rendering = Generator[ProcessedFile | Fingerprint, None, None]


class Making:
    """The files of one upload, which are made when they are asked for.

    `first()` and `all()` raise `UploadError` if the upload cannot be processed.
    """

    def __init__(
        self, uploader: Any, source: ProcessedFile, folder: Path, *, known_hash: bool = False
    ) -> None:
        self._uploader, self._folder, self._known_hash = uploader, folder, known_hash
        #: The original after the steps that make a file, and what is left to do as a recipe.
        self._original, self._step = source, Image()
        #: The recipe with which the versions begin.
        self._shown = Image()
        self._versions: list[PlannedVersion] = []
        #: Whether there are `later` versions that are not to be made now.
        self.leaves_rest = False
        self._fingerprint: Fingerprint | None = None
        #: By name, in the order in which they are made.
        self._done: dict[str, ProcessedFile] = {}
        self._making: Rendering | None = None

    def plan(self, steps: bool, names: Collection[str] | None, *, later: bool) -> None:
        """Apply the processing steps that make a file, and collect what else is to be made."""
        enabled = self._uploader.enable_processing
        for step in processes_of(type(self._uploader)) if steps and enabled else ():
            if not step.is_due(self._uploader, self._original.info):
                continue
            if step.file:
                self._apply(step)
            elif self._original.info.is_image:
                self._step = step.record(self._uploader, self._step)
        info = self._original.info
        self._shown = shown_by(self._uploader, info, self._step) if enabled else self._step
        planned = plan_versions(self._uploader, info, self._shown, names)
        self._versions = [item for item in planned if later or not item.later]
        self.leaves_rest = len(self._versions) < len(planned)
        if not enabled:
            self._copy_versions()
        else:
            self._making = self._make(names)

    def first(self) -> list[ProcessedFile] | None:
        """All files except the `later` versions; None if no version is `later`."""
        first = {item.name for item in self._versions if not item.later}
        first |= {ORIGINAL} if self._step != Image() else set()
        if len(first - {ORIGINAL}) == len(self._versions):
            return None
        with self._process(first):
            while not (first <= set(self._done) and self._is_known):
                if not self._go_on():
                    return None  # One of these cannot be made in its format.
        return self._files(file for name, file in self._done.items() if name in first)

    def all(self) -> list[ProcessedFile]:
        """All files, the original last; without versions that are not `smaller_than` another."""
        with self._process({item.name for item in self._versions} - set(self._done)):
            while self._go_on():
                pass
        return self._files(file for file in self._done.values() if self._is_small_enough(file))

    def _process(self, names: Collection[str]) -> AbstractContextManager[object]:
        """The event of making these files; none if nothing is made."""
        if not names or self._making is None:
            return nullcontext()
        return instrument("process", uploader=type(self._uploader), versions=sorted(names))

    def close(self) -> None:
        """Stop making files."""
        if self._making is not None:
            self._making.close()

    def _apply(self, step: Process) -> None:
        """Let a method make a file of the original as it is by now."""
        if self._step != Image():
            for _ in self._render(None, [], ORIGINAL):
                pass
            self._original, self._step = self._done.pop(ORIGINAL, self._original), Image()
            self._fingerprint = None
        path = self._run(step, self._original)
        self._original = ProcessedFile(ORIGINAL, path, facts_of(path), self._uploader.storage)

    def _copy_versions(self) -> None:
        """Take the original for every version (`enable_processing`)."""
        for item in self._versions:
            storage = item.version.storage or self._uploader.storage
            self._done[item.name] = replace(self._original, name=item.name, storage=storage)

    def _make(self, names: Collection[str] | None) -> Rendering:
        """All files, the urgent ones first. What is made of the original comes from one decoding,
        which goes on to the `later` versions when the others are there."""
        changed = [] if self._step == Image() else [ORIGINAL]
        recipes = self._recipes_of(None)
        urgent = {*changed, *(item.name for item in recipes if not item.later)}
        with closing(self._render(None, recipes, *changed, fingerprint=names is None)) as rendering:
            while not (urgent <= set(self._done) and self._is_known):
                made = next(rendering, None)
                if made is None:
                    break
                yield made
            yield from self._make_others(later=False)
            yield from rendering
            yield from self._make_others(later=True)

    def _make_others(self, *, later: bool) -> Rendering:
        """The versions that methods make, and the versions made of these."""
        for item in self._versions:
            if item.recipe is not None:
                continue
            if item.later == later:
                of_original = self._original if item.source is None else None
                source = self._done.get(item.source or ORIGINAL, of_original)
                if source is not None:  # else its format cannot hold it
                    yield self._add(item.name, self._run(item.version, source))
            if item.name in self._done:
                due = [other for other in self._recipes_of(item.name) if other.later == later]
                yield from self._render(item.name, due)

    def _recipes_of(self, source: str | None) -> list[PlannedVersion]:
        return [
            item for item in self._versions if item.source == source and item.recipe is not None
        ]

    def _render(
        self,
        source: str | None,
        items: list[PlannedVersion],
        *original: str,
        fingerprint: bool = False,
    ) -> Rendering:
        """Render what is a recipe for one file.

        Parameters:
          source: the name of the version that is the file; None is the original.
          items: the versions; `later` ones come last.
          original: ORIGINAL, if the original is changed too.
          fingerprint: whether to read the file for its fingerprint alone.
        """
        file = self._original if source is None else self._done[source]
        if not file.info.is_image or not (items or original or fingerprint):
            return
        recipes = {self._folder / name: self._step for name in original}
        for item in sorted(items, key=lambda item: item.later):
            recipes[self._folder / item.name] = item.recipe or Image()
        smaller_than = {
            self._folder / item.name: self._folder / item.version.smaller_than
            for item in items
            if item.version.smaller_than is not None
        }
        step, shown = (self._step, self._shown) if source is None else (Image(), Image())
        rendering = imaging.render(
            file.path,
            file.info,
            recipes,
            None if self._known_hash else step,
            smaller_than,
            shown,
        )
        try:
            while True:
                with imaging_errors_translated():
                    made = next(rendering, None)
                if made is None:
                    return
                if isinstance(made, Path):
                    yield self._add(made.name, made)
                elif source is None:
                    self._fingerprint = made
                    yield made
        finally:
            rendering.close()

    def _run(self, step: Process | Version, source: ProcessedFile) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return run_step(self._uploader, step, source, folder)

    def _add(self, name: str, path: Path) -> ProcessedFile:
        of = next((item.version for item in self._versions if item.name == name), None)
        storage = (of.storage if of is not None else None) or self._uploader.storage
        self._done[name] = ProcessedFile(name, path, facts_of(path), storage)
        return self._done[name]

    @property
    def _is_known(self) -> bool:
        """Whether the original has its fingerprint, if it gets one."""
        return self._fingerprint is not None or not self._original.info.is_image

    def _go_on(self) -> bool:
        return self._making is not None and next(self._making, None) is not None

    def _is_small_enough(self, file: ProcessedFile) -> bool:
        than = next(
            (item.version.smaller_than for item in self._versions if item.name == file.name), None
        )
        other = self._done.get(than) if than is not None else None
        return other is None or file.bytes < other.bytes

    def _files(self, done: Iterable[ProcessedFile]) -> list[ProcessedFile]:
        original = self._done.get(ORIGINAL, self._original)
        wanted = {item.name for item in self._versions if item.wanted}
        versions = [file for file in done if file.name in wanted]
        # The hash is known from now on: `replace()` would forget it.
        known = original.sha256
        return [*versions, replace(original, fingerprint=self._fingerprint, known_sha256=known)]
