"""Grafana dashboards as code; `make format` writes their JSON to helm/embedway/files/dashboards."""
