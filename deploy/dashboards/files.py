"""The dashboards as files."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.dashboards.budgets import BUDGETS
from deploy.dashboards.engine import ENGINE
from deploy.dashboards.overview import OVERVIEW
from deploy.dashboards.panels import built
from deploy.dashboards.providers import PROVIDERS
from deploy.dashboards.spaces import SPACES

BOARDS = (OVERVIEW, ENGINE, PROVIDERS, BUDGETS, SPACES)


def dashboard_files() -> dict[str, str]:
    """JSON of each dashboard by its file's name."""
    files = {}
    for board in BOARDS:
        name = f"{board.uid.removeprefix('embedway-')}.json"
        encoded = JSONEncoder(sort_keys=True, indent=2).encode(built(board))
        # Numbers and order are then the same wherever it is made.
        files[name] = json.dumps(json.loads(encoded), indent=2, sort_keys=True) + "\n"
    return files
