"""The addresses of this room."""

from gifster.api.context import Context
from gifster.api.files import Files
from gifster.api.sharing.embed import Embed
from gifster.api.sharing.feeds import Feed
from gifster.api.sharing.files import SharedFiles, ShortLink
from gifster.api.sharing.menu import ShareMenu
from gifster.api.sharing.oembed import OEmbed


def sharing(context: Context, files: Files) -> list[tuple[str, object, str]]:
    """Each path with its resource and the suffix of its methods.

    Parameters:
      files: the store's.
    """
    shared = SharedFiles(context, files)
    return [
        ("/g/{gif_id}", ShortLink(), ""),
        ("/g/{gif_id}.{extension}", shared, ""),
        ("/g/{gif_id}/{version}.{extension}", shared, "version"),
        ("/embed/{gif_id}", Embed(context), ""),
        ("/feed.atom", Feed(context), ""),
        ("/oembed", OEmbed(context), ""),
        ("/gifs/{gif_id}/share", ShareMenu(context), ""),
    ]
