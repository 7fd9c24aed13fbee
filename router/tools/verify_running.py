"""`embedway verify --url`: a running target held against the gates, and a verdict."""

from rich.console import Console
from rich.table import Table

from router.tools.gates import hold_against_gates
from router.tools.published import Published
from router.tools.running_target import running_target

_WORDS = {True: "passed", False: "FAILED", None: "not judged"}


async def verify_running(
    url: str, model: str, key: str | None, published: Published | None, console: Console
) -> bool:
    """Print a table and a verdict; whether no gate failed. ConfigurationError for the address."""
    target = running_target(url, model, key)
    try:
        findings = await hold_against_gates(target.embed, published)
    finally:
        await target.close()
    table = Table(box=None, pad_edge=False)
    for title in ("gate", "", "figure"):
        table.add_column(title)
    for finding in findings:
        table.add_row(finding.gate, _WORDS[finding.passed], finding.figure)
    console.print(table)
    failed = sum(finding.passed is False for finding in findings)
    if published is not None:
        console.print(f"Published: {published.source}", soft_wrap=True)
    verdict = "passed every gate" if failed == 0 else f"failed {failed} of {len(findings)} gates"
    console.print(f"{model} at {url} {verdict}.", soft_wrap=True)
    return failed == 0
