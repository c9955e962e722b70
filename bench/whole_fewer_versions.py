"""The worker of `bench.whole` that makes only the versions that `BENCH_VERSIONS` names, as many as
CarrierWave's side. Otherwise it is the application's own: `dramatiq bench.whole_fewer_versions`.
"""

import os

from gifster.actors import broker
from gifster.app.models import ImageUploader
from gifster.uploads.versions.declaring import versions_of

__all__ = ["broker"]

for name in versions_of(ImageUploader).keys() - os.environ["BENCH_VERSIONS"].split():
    setattr(ImageUploader, name, None)
