"""Animated GIFs, resized by ffmpeg in a process of its own.

One decode; the palette is made from all frames, and each frame stores only the rectangle that
changed. No dithering: it costs bytes and, measured, likeness too.
"""

import functools
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg

from gifster.uploads.errors import Unreadable
from gifster.uploads.imaging.probe import ImageInfo
from gifster.uploads.imaging.recipe import Plan

TIMEOUT_S = 300


def resize_gif(source: Path, info: ImageInfo, plan: Plan, target: Path) -> None:
    """Resize an animated GIF, or a part of it, keeping every frame, its delay, and the loop count.

    Raises:
      Unreadable: ffmpeg could not decode it, or took longer than `TIMEOUT_S` seconds.
    """
    crop = f"crop={plan.right - plan.left}:{plan.bottom - plan.top}:{plan.left}:{plan.top}"
    filters = (
        f"{crop},scale={plan.width}:{plan.height}:flags=bicubic,split[a][b];"
        "[a]palettegen=stats_mode=full:reserve_transparent=1[palette];"
        "[b][palette]paletteuse=dither=none:diff_mode=rectangle"
    )
    command = [
        _executable(),
        *("-v", "error", "-nostdin", "-y", "-threads", "1"),
        # The format is named and other protocols are barred: nothing in the file can make ffmpeg
        # take it for a play list and open something else.
        *("-protocol_whitelist", "file", "-f", "gif", "-i", source.as_posix()),
        *("-filter_complex", filters),
        # Each frame keeps its own time: by default it would be rounded to the mean frame rate.
        *("-fps_mode", "passthrough", "-enc_time_base", "1:100"),
        *("-loop", str(-1 if info.loop is None else info.loop)),
        *("-f", "gif", target.as_posix()),
    ]
    try:
        done = subprocess.run(  # noqa: S603 a fixed program, and no shell
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(f"The GIF could not be decoded within {TIMEOUT_S} seconds.") from None
    if done.returncode != 0 or not target.exists() or target.stat().st_size == 0:
        if done.returncode < 0:
            # A signal: our own stop, or the machine out of memory. Not the file's fault for sure.
            raise RuntimeError(f"ffmpeg was ended by signal {-done.returncode}")
        raise Unreadable("The GIF is damaged: it cannot be decoded.")


@functools.cache
def _executable() -> str:
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()
