"""What a dashboard is made of here: panels with queries, and how Grafana's SDK is told of them."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = Literal["lines", "stacked", "stat", "table"]
_HEIGHT = 8
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_BUILDERS: dict[str, Any] = {
    "lines": timeseries.Panel,
    "stacked": timeseries.Panel,
    "stat": stat.Panel,
    "table": table.Panel,
}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and what its series are called, with `{{label}}`."""

    expr: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; `unit` is Grafana's, `width` of 24 columns."""

    title: str
    meaning: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "lines"
    width: int = 12


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: rows of panels by title. `choices` are variables: name and its query."""

    uid: str
    title: str
    meaning: str
    choices: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def built(board: Board) -> models.Dashboard:
    """The dashboard as Grafana's own model."""
    made = (
        boards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.meaning)
        .tags(["embedway"])
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            boards.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for name, query in board.choices:
        made = made.with_variable(
            boards.QueryVariable(name)
            .datasource(_SOURCE)
            .query(query)
            .include_all(include_all=True)
            .all_value(".*")
            .multi(multi=True)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    numbers = itertools.count(1)
    for title, panels in board.rows:
        made = made.with_row(boards.Row(title).id(next(numbers)))
        for panel in panels:
            made = made.with_panel(_panel(panel).id(next(numbers)))
    return made.build()


def _panel(panel: Panel) -> Any:  # noqa: ANN401 - one of the SDK's builders
    made = (
        _BUILDERS[panel.kind]()
        .title(panel.title)
        .description(panel.meaning)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .height(_HEIGHT)
        .span(panel.width)
    )
    if panel.kind in ("lines", "stacked"):
        made = made.min(0).fill_opacity(10).legend(_legend())
    if panel.kind == "stacked":
        made = made.stacking(_stacking()).fill_opacity(60)
    if panel.kind == "table":
        made = made.transformations(_one_table(panel))
    for place, query in enumerate(panel.queries):
        made = made.with_target(_target(query, chr(ord("A") + place), panel.kind))
    return made


def _target(query: Query, name: str, kind: Kind) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(name)
    if kind in ("table", "stat"):
        made = made.instant()
    if kind == "table":
        made = made.format(PromQueryFormat.TABLE)
    if query.exemplars:
        made = made.exemplar(exemplar=True)
    return made


def _one_table(panel: Panel) -> list[models.DataTransformerConfig]:
    """All queries side by side, each column called by its legend."""
    columns = {
        f"Value #{chr(ord('A') + place)}": query.legend for place, query in enumerate(panel.queries)
    }
    arranged = {"excludeByName": {"Time": True}, "renameByName": columns}
    return [
        models.DataTransformerConfig(id_val="merge", options={}),
        models.DataTransformerConfig(id_val="organize", options=arranged),
    ]


def _legend() -> common.VizLegendOptions:
    made = common.VizLegendOptions().show_legend(show_legend=True)
    return made.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)


def _stacking() -> common.StackingConfig:
    return common.StackingConfig().mode(StackingMode.NORMAL)
