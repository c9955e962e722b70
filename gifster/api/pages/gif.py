"""The page of one GIF."""

from datetime import timedelta

from falcon.asgi import Request, Response

from gifster.api.auth import current_user, viewer_of
from gifster.api.gifs import cards_json, one_json
from gifster.api.pages.page import Page
from gifster.api.sharing.previews import Preview
from gifster.app import collections, favourites, library, near_duplicates, search
from gifster.app.access import MODERATORS, Reach, may_change, may_see_gif, may_show_again, moderates
from gifster.app.models import Gif, ImageUploader, User
from gifster.app.moderation import hiding
from gifster.app.moderation.log import needs_reason

#: How many GIFs with the same words a GIF's page shows.
MOST_ALIKE = 12


def _may_be_private(gif: Gif, user: User | None, reach: Reach) -> bool:
    """Whether somebody may make a GIF private: its owner may, and admins may."""
    return reach is Reach.ALL or (gif.user_id is not None and not moderates(gif, user, reach))


class GifPage(Page):
    """`/gifs/{id}` and its card for the gallery; its forms are in `gif_forms`."""

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        await self.show(req, resp, gif_id)

    async def show(self, req: Request, resp: Response, gif_id: str, **values: object) -> None:
        """Answer with the page.

        Parameters:
          values: more for the template, in place of its own.
        """
        user = await current_user(self.context, req)
        viewer, home = await viewer_of(self.context, req), self.context.home(req)

        def work() -> dict[str, object]:
            gif = library.get_gif(gif_id, viewer)
            facts = one_json(gif, viewer)
            near = near_duplicates.near_duplicates_of(gif, user_id=viewer.user_id)
            alike = search.related(gif_id, limit=MOST_ALIKE + len(near)).gifs
            return {
                "gif": facts,
                "shared": Preview(home, gif, facts["tags"]) if may_see_gif(gif) else None,
                "similar": cards_json(near, viewer),
                "alike": cards_json([one for one in alike if one not in near], viewer),
                "uses": search.lately(gif_id),
                "may_change": self.may_write(user) and may_change(gif, user, viewer.reach),
                "may_be_private": _may_be_private(gif, user, viewer.reach),
                "may_moderate": user is not None and viewer.reach in MODERATORS,
                "asks_reason": moderates(gif, user, viewer.reach),
                "needs_reason": needs_reason(gif, user, viewer.reach),
                "may_show_again": may_show_again(gif, user, viewer.reach),
                "why_hidden": hiding.why_hidden(gif),
                "deleted_at": self._end_of(gif),
                "favourite": user is not None and favourites.is_favourite(user, gif_id),
                "collections": collections.collections_of(user) if user else [],
                "collected_in": collections.with_gif(user, gif_id) if user else set(),
                "typed": None,
                "details_refusal": None,
                "accept": ",".join(sorted(ImageUploader.allow_types)),
            }

        await self.render(req, resp, "gif.html", **(await self.context.run(work) | values))

    def _end_of(self, gif: Gif) -> str | None:
        """The day on which a GIF in the trash is deleted; None if it is not."""
        days = self.context.settings.library.trash_days
        if gif.trashed_at is None or not days:
            return None
        return str((gif.trashed_at + timedelta(days=days)).date())

    async def on_get_card(self, req: Request, resp: Response, gif_id: str) -> None:
        viewer = await viewer_of(self.context, req)
        gif = await self.context.run(lambda: one_json(library.get_gif(gif_id, viewer), viewer))
        await self.render(req, resp, "card.html", gif=gif)
