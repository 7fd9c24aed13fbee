"""What `embedway up` prints once it serves: address, key, a client to copy, a live search."""

import sys

from rich.console import Console

from router.up import demo
from router.up.errors import UpError

KEY_VARIABLE = "EMBEDWAY_API_KEY"


def welcome(url: str, key: str | None, model: str) -> str:
    """What to type next; `key` is None where it was given, and is not shown then."""
    imports, shown = "import os; from openai import OpenAI", f'os.environ["{KEY_VARIABLE}"]'
    if key is not None:
        imports, shown = "from openai import OpenAI", f'"{key}"'
    call = f'embeddings.create(model="{model}", input="Hello").data[0].embedding[:4]'
    return (
        f"\nURL  {url}\nkey  {key or 'as in ' + KEY_VARIABLE}\n\n"
        f'{imports}\nprint(OpenAI(base_url="{url}", api_key={shown}).{call})\n\n'
    )


async def show_search(host: str, port: int, key: str, model: str) -> None:
    """Search over HTTP, and print what was found and what could not be."""
    try:
        hits = await demo.demonstrate(host, port, key, model)
    except UpError as error:
        sys.stdout.write(f"{error}\n")
    else:
        Console().print(demo.as_table(hits))
