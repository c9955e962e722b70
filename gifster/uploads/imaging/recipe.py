"""What a version asks for. Calls are recorded, not carried out: the engines do that later."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Image:
    """The image that a version method is handed, and gives back changed."""

    box: tuple[int, int] | None = None

    def fit(self, width: int, height: int) -> "Image":
        """Shrink to lie within width × height pixels, keeping the proportions. Never enlarges."""
        if width < 1 or height < 1:
            raise ValueError(f"a box of {width}×{height} pixels holds no image")
        return replace(self, box=(width, height))

    def size_for(self, width: int, height: int) -> tuple[int, int]:
        """The size in pixels that an image of width × height pixels will have."""
        if self.box is None:
            return width, height
        scale = min(1.0, self.box[0] / width, self.box[1] / height)
        return max(1, round(width * scale)), max(1, round(height * scale))
