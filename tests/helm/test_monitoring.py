"""Rules, dashboards and monitors."""

import yaml

from tests.support import charts


def test_rules_and_dashboards_are_shipped_word_for_word() -> None:
    """Whatever lies in files/ becomes a PrometheusRule or a ConfigMap; braces are left alone."""
    rendered = charts.render(charts.scenario("everything"), charts.furnished())
    assert rendered.get("PrometheusRule", "furnished")["spec"] == charts.RULES
    board = rendered.get("ConfigMap", "dashboard-furnished")
    assert yaml.safe_load(board["data"]["furnished.json"]) == charts.DASHBOARD
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"]["grafana_folder"] == "Embedway"
    for kind, folder in (("PrometheusRule", "rules/*.yaml"), ("ConfigMap", "dashboards/*.json")):
        for path in (charts.CHART / "files").glob(folder):
            name = path.stem if kind == "PrometheusRule" else f"dashboard-{path.stem}"
            assert rendered.get(kind, name)


def test_prometheus_scrapes_each_router_once() -> None:
    """The monitor matches the Service that shares out requests, not the one that names routers."""
    rendered = charts.rendered("everything")
    [monitor] = rendered.of("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    [exception] = monitor["spec"]["selector"]["matchExpressions"]
    found = [
        one["metadata"]["name"]
        for one in rendered.of("Service")
        if wanted.items() <= one["metadata"]["labels"].items()
        and one["metadata"]["labels"].get(exception["key"]) not in exception["values"]
    ]
    assert found == ["demo-router"]
    assert monitor["spec"]["endpoints"][0]["path"] == "/metrics"
