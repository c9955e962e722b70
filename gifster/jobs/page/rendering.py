"""The templates, and the environment in which the mounted page renders them.

Another application can show the same templates within a layout of its own: it adds `loader()` to
its environment's loaders, and renders `jobs/overview.html` and `jobs/list.html` with the values
that `views.py` makes and the name of its layout as `layout`. The layout needs the blocks `title`,
`head` and `main`.
"""

from pathlib import Path

try:
    import jinja2
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "the jobs' page needs Jinja2, which is not installed: pip install 'gifster[jobs-page]'",
        name=error.name,
    ) from None

FOLDER = Path(__file__).parent
#: The style sheets, scripts and images that the templates name.
STATIC = FOLDER / "static"


def loader() -> jinja2.BaseLoader:
    """A loader of the templates, whose names begin with `jobs/`."""
    return jinja2.PrefixLoader({"jobs": jinja2.FileSystemLoader(FOLDER / "templates")})


def environment() -> jinja2.Environment:
    """An environment that has these templates alone, the layout too."""
    return jinja2.Environment(
        loader=loader(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
