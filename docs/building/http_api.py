"""The page of the HTTP API, from the document that `/openapi.json` answers with."""

from typing import Any

from gifster.api import openapi

Json = dict[str, Any]

WHO = {
    None: "",
    "[{'token': []}]": "A user's token or session.",
    "[{'token': []}, {}]": "A user's token or session; nobody's, where the settings allow it.",
    "[]": "",
}


def page() -> str:
    """The page, in Markdown."""
    document = openapi.document()
    text = f"# HTTP API\n\n{document['info']['description']}\n\n"
    text += "This page is made from `/openapi.json`, which every Gifster serves (OpenAPI 3.1).\n\n"
    text += "| request | does |\n| --- | --- |\n"
    for path, method, operation in _operations(document):
        title = f"{method.upper()} {path}"
        text += f"| [`{title}`](#{_anchor(title)}) | {operation['summary']} |\n"
    for path, method, operation in _operations(document):
        text += _operation(path, method, operation)
    text += "\n## Shapes\n\nEach value is required where the table says so.\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        text += f"\n### {name}\n\n{schema.get('description', '')}\n\n{_shape(schema)}"
    text += "\n## Errors\n\nAn error is a `Problem`, of the type `application/problem+json`.\n\n"
    text += "| status | meaning |\n| --- | --- |\n"
    for status, meaning in sorted(openapi.PROBLEMS.items()):
        text += f"| {status} | {meaning} |\n"
    return text


def _operations(document: Json) -> list[tuple[str, str, Json]]:
    """The operations, each with its path, its method, and the parameters of the path."""
    found = []
    for path, methods in document["paths"].items():
        of_path = methods.get("parameters", [])
        for method in [name for name in methods if name != "parameters"]:
            operation = methods[method]
            parameters = of_path + operation.get("parameters", [])
            found.append((path, method, operation | {"parameters": parameters}))
    return found


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower() if c.isalnum() or c in "_ -").replace(" ", "-")


def _operation(path: str, method: str, operation: Json) -> str:
    text = f"\n## {method.upper()} {path}\n\n{operation['summary']}.\n\n"
    if who := WHO[str(operation["security"]) if "security" in operation else None]:
        text += f"Who: {who}\n\n"
    if parameters := operation["parameters"]:
        text += "| parameter | in | type | meaning |\n| --- | --- | --- | --- |\n"
        for one in parameters:
            text += (
                f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | "
                f"{one.get('description', '')} |\n"
            )
        text += "\n"
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        text += f"Body, `{media}`: {_type(body['schema'])}\n\n"
    problems = []
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            problems.append(status)
            continue
        bodies = [
            f"{_type(body['schema'])}, `{media}`"
            for media, body in answer.get("content", {}).items()
        ]
        headers = [f"header `{name}`" for name in answer.get("headers", {})]
        text += f"Answer: {status}" + "".join(f"; {what}" for what in [*bodies, *headers]) + "\n\n"
    if problems:
        text += f"Errors: {', '.join(problems)}\n"
    return text


def _shape(schema: Json) -> str:
    if "properties" not in schema:
        return f"{_type(schema)}\n"
    required = schema.get("required", [])
    text = "| name | type | required | meaning |\n| --- | --- | --- | --- |\n"
    for name, value in schema["properties"].items():
        is_required = "yes" if name in required else ""
        meaning = value.get("description", "")
        text += f"| `{name}` | {_type(value)} | {is_required} | {meaning} |\n"
    return text


def _type(schema: Json) -> str:
    """A type in a few words, with a link to the shape that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object, whose values are {_type(schema['additionalProperties'])}"
    kind = schema.get("type", "any")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "format" in schema:
        text += f" ({schema['format']})"
    limits = [
        f"{word} {schema[key]}"
        for key, word in {
            "minimum": "from", "maximum": "to", "maxLength": "length to", "default": "default",
        }.items()
        if schema.get(key) not in (None, "", [])
    ]  # fmt: skip
    return text + "".join(f", {limit}" for limit in limits)
