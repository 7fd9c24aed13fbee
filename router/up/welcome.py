"""What `embedway up` prints once it serves: address, key, a client to copy, a live search."""

import os
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


async def search_results(host: str, port: int, key: str, model: str) -> str:
    """Search over HTTP; what was found as a table, or why there is nothing to show."""
    try:
        hits = await demo.demonstrate(host, port, key, model)
    except UpError as error:
        return f"{error}\n"
    console = Console()
    with console.capture() as capture:
        console.print(demo.as_table(hits))
    return capture.get()


def tell(text: str) -> None:
    """Write to standard output; that nobody reads it any more is no reason to stop serving."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Or the interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
