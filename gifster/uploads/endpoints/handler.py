"""What an endpoint does with a request, whichever server has received it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from gifster.uploads.endpoints.bodies import Body
from gifster.uploads.endpoints.messages import Headers, Request, Response

#: Returns what the application says of a request.
Allow = Callable[[], object]


class Handler(ABC):
    """Answers requests. `wsgi` and `asgi` bring them."""

    @abstractmethod
    def begin(self, request: Request, allow: Allow) -> Response | Body:
        """The answer to a request, or what takes its body first. It blocks.

        Parameters:
          allow: returns what the application says of the request.

        Raises:
          Exception: `messages.problem_of()` says what the client gets.
        """

    def extra_headers(self, request: Request, answer: Headers) -> Headers:
        """Further headers of an answer, which has these."""
        return {}
