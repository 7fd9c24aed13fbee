"""`python -m deploy.dashboards FOLDER` writes the dashboards' JSON there."""

import sys
from pathlib import Path

from deploy.dashboards.files import dashboard_files

if __name__ == "__main__":
    for name, text in dashboard_files().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
