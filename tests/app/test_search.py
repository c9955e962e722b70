"""Finding GIFs: what is found, in which order, and page by page."""

from gifster.app import search
from gifster.app.models import Gif, GifTag, Tag
from gifster.app.settings import Settings


def _add(title: str, *tags: str) -> Gif:
    gif = Gif.create(title=title)
    for name in tags:
        tag, _ = Tag.get_or_create(name=name)
        GifTag.create(gif=gif, tag=tag)
    search.put(gif, tags)
    return gif


def test_all_words_are_found_in_titles_and_tags(booted: Settings):
    # Given three GIFs
    wanted = _add("Monday mood", "cats", "sleepy")
    _add("Monday", "dogs")
    _add("Friday", "cats")

    # When I search for two words, in another order and in capitals
    found = search.find("CATS monday")

    # I expect the GIF that has both first
    assert found.gifs[0].id == wanted.id
    assert search.complete("cat") == ["cats"]
    assert "sleepy" in search.suggestions("cats")
    assert [gif.id for gif in search.related(wanted.id).gifs] != [wanted.id]
