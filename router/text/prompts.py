"""Prompt templates: what is put around a text before the model sees it."""

from router.domain.errors import InvalidInputError
from router.domain.types import Space

DOCUMENT = "document"
QUERY = "query"


def template_for(space: Space, input_type: str | None, instruction: str | None) -> str | None:
    """The template with its instruction filled in and `{text}` left, or None for bare text.

    Without an input type a text is a document, as every OpenAI client expects; an instruction
    alone makes it a query, since only queries carry one. InvalidInputError where the space
    knows no such type, or takes no instruction there.
    """
    kind = input_type or (QUERY if instruction is not None else DOCUMENT)
    template = space.prompts.get(kind)
    known_kinds = {DOCUMENT, QUERY, *space.prompts, *space.provider_input_types}
    if template is None and kind not in known_kinds:
        known = ", ".join(sorted(known_kinds))
        raise InvalidInputError(
            f"input_type must be one of {known} for {space.name}", param="input_type"
        )
    takes_instruction = template is not None and "{instruction}" in template
    if instruction is not None and not takes_instruction:
        raise InvalidInputError(
            f"{space.name} takes no instruction for a {kind}", param="instruction"
        )
    if template is None or template == "{text}":
        return None
    if takes_instruction:
        template = template.replace("{instruction}", instruction or space.default_instruction or "")
    return template


def provider_input_type(
    space: Space, input_type: str | None, instruction: str | None
) -> str | None:
    """The word of a provider that prompts by itself, or None where the prompt is in the text.

    InvalidInputError where the provider knows no such type.
    """
    if not space.provider_input_types:
        return None
    kind = input_type or (QUERY if instruction is not None else DOCUMENT)
    word = space.provider_input_types.get(kind)
    if word is None:
        known = ", ".join(sorted(space.provider_input_types))
        raise InvalidInputError(
            f"input_type must be one of {known} for {space.name}", param="input_type"
        )
    return word


def apply_template(template: str, texts: list[str]) -> list[str]:
    """Each text in its template. An instruction may hold braces, so the text goes in by place."""
    head, _, tail = template.rpartition("{text}")
    return [f"{head}{text}{tail}" for text in texts]
