"""The worker of `bench.whole` that makes as many versions as CarrierWave's side: a thumb and a
preview. Otherwise it is the application's own: `dramatiq bench.whole_two_versions`."""

from gifster.actors import broker
from gifster.app.models import ImageUploader
from gifster.uploads.versions.declaring import versions_of

__all__ = ["broker"]

for name in versions_of(ImageUploader).keys() - {"thumb", "preview"}:
    setattr(ImageUploader, name, None)
