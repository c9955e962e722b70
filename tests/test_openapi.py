"""`/openapi.json` is true: requests made from it, good and bad, are answered as it says."""

import hypothesis
import schemathesis
from hypothesis import strategies
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from gifster.api.openapi import document
from tests import images
from tests.stack import Stack

WEB: dict[str, str] = {}

GIF = images.gif()
schemathesis.openapi.format("binary", strategies.sampled_from([GIF, GIF[:100], b""]))

schema = schemathesis.openapi.from_dict(document())
schema.config.generation.update(modes=list(GenerationMode))

#: No schema says which texts are cursors of ours, and which URLs lead to an image.
BEYOND_SCHEMAS = CHECKS.get_by_names(["positive_data_acceptance"])
#: And a list of texts, which no title can be, becomes several fields `title`, or none, in a form.
BEYOND_FORMS = BEYOND_SCHEMAS + CHECKS.get_by_names(["negative_data_rejection"])


def test_the_document_is_served(web: Stack):
    assert web.client.get("/openapi.json").json() == document()


@schema.parametrize()
@hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_answers_are_as_it_says(case: schemathesis.Case, web: Stack):
    form = case.media_type == "multipart/form-data"
    case.call_and_validate(
        base_url=str(web.client.base_url),
        excluded_checks=BEYOND_FORMS if form else BEYOND_SCHEMAS,
    )
