"""Watching: what Prometheus records and alerts on, and what Grafana shows, made from what the server promises."""
