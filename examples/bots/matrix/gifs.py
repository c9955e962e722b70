"""`!gif happy cat` in Matrix: a maubot plugin that posts a GIF of your own library.

    mbc build examples/bots/matrix --upload

Then make an instance of it at your maubot, and set `gifster` in its configuration. The bot fetches
the GIF and uploads it to its homeserver: nobody in the room has to reach the library, and it works
in encrypted rooms' previews as any picture does.
"""

from maubot import MessageEvent, Plugin
from maubot.handlers import command
from mautrix.types import ImageInfo, MediaMessageEventContent, MessageType
from mautrix.util.config import BaseProxyConfig, ConfigUpdateHelper


class Config(BaseProxyConfig):
    def do_update(self, helper: ConfigUpdateHelper) -> None:
        for name in ("gifster", "key", "rating"):
            helper.copy(name)


class Gifs(Plugin):
    @classmethod
    def get_config_class(cls) -> type[BaseProxyConfig]:
        return Config

    async def start(self) -> None:
        self.config.load_and_update()

    @command.new("gif", help="Post a GIF")
    @command.argument("words", pass_raw=True, required=True)
    async def post(self, event: MessageEvent, words: str) -> None:
        """Post the GIF that comes nearest to some words."""
        asked = {"s": words, "rating": self.config["rating"], "api_key": self.config["key"]}
        url = f"{self.config['gifster'].rstrip('/')}/v1/gifs/translate"
        async with self.http.get(url, params=asked) as answer:
            answer.raise_for_status()
            found = (await answer.json())["data"]
        if not found:
            await event.reply(f"No GIF for “{words}”.")
            return
        picture = found["images"]["original"]
        async with self.http.get(picture["url"]) as answer:
            answer.raise_for_status()
            content = await answer.read()
        mxc = await self.client.upload_media(content, "image/gif", f"{found['slug']}.gif")
        info = ImageInfo("image/gif", size=len(content),
                         width=int(picture["width"]), height=int(picture["height"]))  # fmt: skip
        await event.respond(
            MediaMessageEventContent(
                msgtype=MessageType.IMAGE,
                body=found["alt_text"] or found["title"],
                url=mxc,
                info=info,
            )
        )
