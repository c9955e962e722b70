"""What several files of these tests share."""

from pathlib import Path

import pytest

from tests.imaging.recordings import H264, SOUND, SOURCE, ffmpeg


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos that no test changes."""
    made = tmp_path_factory.mktemp("videos")
    ffmpeg(*SOURCE, *SOUND, *H264, made / "sound.mp4")
    ffmpeg(*SOURCE, *H264, "-movflags", "frag_keyframe+empty_moov", made / "parts.mp4")
    ffmpeg("-display_rotation", "-90", "-i", made / "sound.mp4", "-c", "copy", made / "turned.mov")
    ffmpeg(*SOURCE, "-vf", "setsar=2", *H264, made / "wide.mp4")
    ffmpeg(*SOURCE, "-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", made / "clip.webm")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", made / "only-sound.mp4")
    return made
