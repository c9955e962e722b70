"""The page of the HTTP API, from the document that `/openapi.json` answers with."""

from gifster.api import openapi, reference
from gifster.api.reference import Operation, Shape, Text, anchor


def page() -> str:
    """The page, in Markdown."""
    document = openapi.document()
    operations = reference.operations(document)
    text = f"# HTTP API\n\n{document['info']['description']}\n\n"
    text += "This page is made from `/openapi.json`, which every Gifster serves (OpenAPI 3.1).\n"
    text += "Your own Gifster has it at `/api`.\n\n"
    text += "| request | does |\n| --- | --- |\n"
    for one in operations:
        text += f"| [`{one.title}`](#{anchor(one.title)}) | {_markdown(one.summary)} |\n"
    text += "".join(map(_operation, operations))
    text += "\n## Shapes\n\nEach value is required where the table says so.\n"
    text += "".join(map(_shape, reference.shapes(document)))
    text += "\n## Errors\n\nAn error is a `Problem`, of the type `application/problem+json`.\n\n"
    text += "| status | meaning |\n| --- | --- |\n"
    for status, meaning in sorted(openapi.PROBLEMS.items()):
        text += f"| {status} | {meaning} |\n"
    return text


def _markdown(text: Text) -> str:
    marks = {"plain": "{0}", "code": "`{0}`", "shape": "[{0}](#{1})"}
    return "".join(marks[part.kind].format(part.text, anchor(part.text)) for part in text)


def _operation(one: Operation) -> str:
    text = f"\n## {one.title}\n\n{_markdown(one.summary)}.\n\n"
    if one.who:
        text += f"Who: {one.who}\n\n"
    if one.parameters:
        text += "| parameter | in | type | meaning |\n| --- | --- | --- | --- |\n"
        for name, place, kind, _, meaning in one.parameters:
            text += f"| `{name}` | {place} | {_markdown(kind)} | {_markdown(meaning)} |\n"
        text += "\n"
    for media, kind in one.bodies:
        text += f"Body, `{media}`: {_markdown(kind)}\n\n"
    for answer in one.answers:
        text += f"Answer: {_markdown(answer)}\n\n"
    if one.problems:
        text += f"Errors: {', '.join(one.problems)}\n"
    return text


def _shape(one: Shape) -> str:
    text = f"\n### {one.name}\n\n{_markdown(one.meaning)}\n\n"
    if not one.fields:
        return f"{text}{_markdown(one.type)}\n"
    text += "| name | type | required | meaning |\n| --- | --- | --- | --- |\n"
    for name, _, kind, required, meaning in one.fields:
        is_required = "yes" if required else ""
        text += f"| `{name}` | {_markdown(kind)} | {is_required} | {_markdown(meaning)} |\n"
    return text
