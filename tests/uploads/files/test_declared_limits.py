"""What an uploader class may set is checked when the class is made."""

import re
from typing import Any

import pytest

from gifster.uploads import (
    Backgrounder,
    Image,
    Uploader,
    configure,
    derivation,
    errors,
    metadata,
    mount_uploader,
    version,
)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_bytes", "5 MB", r"a number of bytes, such as 5 \* 1024 \* 1024; or None"),
        ("min_bytes", True, "a number of bytes"),
        ("max_bytes", property(lambda self: 5), "a number of bytes"),
        ("max_files", 2.5, "a number of files"),
        ("max_pixels", None, "a number of pixels"),
        ("max_frame_pixels", "4K", "a number of pixels"),
        ("max_total_pixels", "many", "a number of pixels"),
        ("max_frames", float("nan"), "a number of frames"),
        ("max_duration_s", "1m", "a number of seconds"),
        ("width_range", 700, r"such as \(100, 700\), with None for an open side"),
        ("height_range", (1, 2, 3), "the least and the greatest number of pixels"),
        ("height_range", range(100, 700), "the least and the greatest number of pixels"),
        ("allow_types", "jpg", "content types, such as"),
        ("allow_types", {"*/*"}, "or None for any"),
        ("allow_types", (kind for kind in ["image/png"]), "content types, such as"),
        ("deny_types", ["svg"], "content types, such as"),
        ("deny_types", None, "content types, such as"),
        ("deny_types", re.compile(b"image/svg"), "content types, such as"),
        ("extensions", ["*.jpg"], "extensions, such as"),
        ("extensions", {"tar.gz"}, "extensions, such as"),
        ("deny_extensions", {1}, "extensions, such as"),
        ("cache", None, "the name of a storage"),
        ("storage", lambda self: "store", "the name of a storage"),
        ("cache_dir", 1, "a text"),
        ("store_prefix", 1, "a text; or None for none"),
        ("derivations_url", None, "a text"),
        ("enable_processing", "no", "True or False"),
        ("keep_files", 1, "True or False"),
        ("move_to_store", "false", "True or False"),
        ("downloader", "https", "a Downloader"),
        ("remote_headers", ["Authorization"], "a dict"),
        ("store_dir", "avatars", r"a method, def store_dir\(\)"),
        ("before_store", None, "a method"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: Any, says: str):
    with pytest.raises(TypeError, match=rf"^Avatars\.{name} is .*: write .*{says}"):
        type("Avatars", (Uploader,), {name: value})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"allow_types": []}, r"allow_types is \[\], which accepts no file: .* write None"),
        ({"extensions": set()}, r"extensions is set\(\), which accepts no file"),
        ({"max_bytes": 0}, "max_bytes is 0, which accepts no file"),
        ({"max_pixels": -1}, "max_pixels is -1, which accepts no file"),
        ({"max_frames": 0}, "max_frames is 0, which accepts no file"),
        ({"min_bytes": 60_000_000}, "min_bytes and max_bytes are 60000000 and 52428800"),
        ({"width_range": (700, 100)}, "width_range are 700 and 100. Write the least first"),
    ],
)
def test_limits_that_accept_no_file_are_refused(changes: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        type("Avatars", (Uploader,), changes)

    class Avatars(Uploader):
        pass

    names = set(changes)
    before = {name: getattr(Avatars, name) for name in names}
    with pytest.raises(ValueError, match=says):
        Avatars.set_limits(max_duration_s=7, **changes)
    assert {name: getattr(Avatars, name) for name in names} == before
    assert Avatars.max_duration_s == Uploader.max_duration_s


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("allow_type", "allow_types"),
        ("allowed_types", "allow_types"),
        ("deny_type", "deny_types"),
        ("extension", "extensions"),
        ("max_byte", "max_bytes"),
        ("max_duration", "max_duration_s"),
        ("heigth_range", "height_range"),
        ("keep_file", "keep_files"),
        ("storages", "storage"),
    ],
)
def test_a_misspelt_limit_is_refused(name: str, meant: str):
    mixin = type("Mixin", (), {name: None})

    for bases, body in (((Uploader,), {name: None}), ((mixin, Backgrounder, Uploader), {})):
        with pytest.raises(TypeError, match=rf"Avatars\.{name} is no limit .*: write {meant}\."):
            type("Avatars", bases, body)


@pytest.mark.parametrize("declare", [version, metadata, derivation])
@pytest.mark.parametrize("name", ["url", "file", "stored", "open", "store_dir", "original"])
def test_what_is_declared_hides_nothing_that_every_uploader_has(declare: Any, name: str):
    def method(self: Any, given: Any) -> Any: ...

    method.__name__ = name
    if name == "original" and declare is not version:
        type("Any", (Uploader,), {name: declare(method)})
        return
    with pytest.raises(TypeError, match=rf"Hiding\.{name} would hide.*rename"):
        type("Hiding", (Backgrounder, Uploader), {name: declare(method)})


@pytest.mark.parametrize(
    ("name", "ours"), [("extension_allowlist", "extensions"), ("size_range", "min_bytes and max")]
)
def test_a_limit_by_carrierwaves_name_is_refused(name: str, ours: str):
    for value in (lambda self: ["png"], ["png"]):
        with pytest.raises(TypeError, match=rf"{name} would do nothing: write {ours}"):
            type("Ported", (Uploader,), {name: value})


@pytest.mark.parametrize("returned", [None, b"a file"])
def test_a_method_that_returns_no_recipe_is_told_apart(returned: Any):
    class Forgetful(Uploader):
        @version
        def thumb(self, image: Image) -> Any:
            return returned

    with pytest.raises(TypeError, match=r"Forgetful\.thumb\(\) returned .*return the image"):
        Forgetful.thumb.record(object.__new__(Forgetful), Image())


def test_only_storages_and_uploaders_are_accepted():
    with pytest.raises(TypeError, match=r"storage 'store' is 'var/store', which has no upload\(\)"):
        configure({"store": "var/store"})  # type: ignore[dict-item]
    for secret in (None, b"a secret", ["a secret", None]):
        with pytest.raises(TypeError, match=r"is of type (NoneType|bytes): write a text"):
            configure({}, secret=secret)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'AvatarUploader' cannot be mounted"):
        mount_uploader("AvatarUploader")  # type: ignore[type-var]


def test_an_uploader_keeps_attributes_of_its_own():
    class Avatars(Uploader):
        min_frame_pixels, max_size, max_width, quality = 10, 5, 700, 80
        _max_byte = 3
        allow_types = "image/*"
        max_bytes = 2.5e6
        width_range = [100, None]

        @property
        def storage(self) -> str:  # type: ignore[override]
            return "secret" if self.record.secret else "store"

        def extension(self) -> str:
            return "jpg"

    class Narrower(Avatars):
        max_size = 3

    assert (Narrower.max_size, Avatars.max_size, Avatars._max_byte) == (3, 5, 3)


@pytest.mark.parametrize("extensions", [".jpg", {"jpg"}, [".jpg"]])
def test_the_sentence_for_people_has_one_dot(extensions: Any):
    uploader = type("Avatars", (Uploader,), {"extensions": extensions})

    uploader.check_name("me.JPG")
    with pytest.raises(errors.ExtensionNotAllowed, match=r"must end in one of: \.jpg\.$"):
        uploader.check_name("me.png")
