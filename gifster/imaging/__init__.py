"""Read facts of images, and make smaller versions of them in sandboxed processes.

1. `probe.probe()` reads a file's type, size, frames and duration from its structure (`gif_blocks`,
   `png_chunks`, `webp_chunks`, `jpeg_segments`, `bmff`, all by `reader`), without decoding.
2. `Image` (`recipe`) records what a version asks for: `Image().fit(220, 220).convert("webp")`.
   A `plan` says what that means for one image; its `padding` is a canvas around the picture.
3. `render()` (`rendering`) makes all versions of one image, in a sandbox (`sandbox`).
4. `stills` makes single pictures. `animation` makes animations: a `scaler` resizes what changes in
   each of the `frames` into `patches`, and `gif`, `webp`, `avif`, `apng` and `mp4` encode these.
5. `fingerprint` computes what finds near duplicates, and the placeholder of an image.
6. `stripping` takes metadata out of a file without decoding it.
7. `errors` lists what can be wrong with an image. The other modules are parts of these.

The package needs Pillow, filetype and thumbhash, and PyAV for MP4: no database, broker or
application.

Example::

    from pathlib import Path
    from gifster.imaging import Image, render
    from gifster.imaging.probe import probe

    source = Path("cat.gif")
    info = probe(source)
    print(info.content_type, info.width, info.height, info.frames, info.duration_ms)
    thumb, poster = Path("thumb.gif"), Path("poster.webp")
    recipes = {
        thumb: Image().fit(220, 220),
        poster: Image().first_frame().fit(480, 480).convert("webp"),
    }
    for made in render(source, info, recipes):
        print(made)  # each path when its file is complete, and the Fingerprint of the original
"""

from gifster.imaging.errors import ImagingError
from gifster.imaging.fingerprint import Fingerprint, placeholder
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.recipe import Image
from gifster.imaging.renamed import aliases
from gifster.imaging.rendering import preload, render, render_unsandboxed
from gifster.imaging.stripping import strip_metadata

__all__ = [
    "Fingerprint",
    "Image",
    "ImageInfo",
    "ImagingError",
    "placeholder",
    "preload",
    "render",
    "render_unsandboxed",
    "strip_metadata",
]

__getattr__ = aliases(
    __name__,
    {
        "Looks": "gifster.imaging.Fingerprint",
        "Glimpses": "gifster.imaging.fingerprint.Fingerprinter",
        "load": "gifster.imaging.preload",
        "make": "gifster.imaging.render_unsandboxed",
        "run_apart": "gifster.imaging.sandbox.run_sandboxed",
    },
)
