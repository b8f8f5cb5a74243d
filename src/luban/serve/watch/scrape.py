"""From samples to what a scraper reads: values of several workers become one, then text.

Two formats, as the scraper's Accept header asks: Prometheus' text format 0.0.4 and OpenMetrics 1.0, both written by
`prometheus_client`. Figures of the table without a sample are there with their help and type alone, so that whoever
writes a dashboard finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from luban.serve.watch.figures import FIGURES, Figure, Sample
from luban.serve.watch.tally import Tally

Values = dict[tuple[str, tuple[str, ...]], float | Tally]


def merged(samples: Iterable[Sample]) -> list[Sample]:
    """One value for each figure and labels, of those that several workers gave.

    Raises KeyError for a figure that is not in the table, ValueError for labels that are not its own.
    """
    found: Values = {}
    for name, labels, value in samples:
        if len(labels) != len(FIGURES[name].labels):
            raise ValueError(f"{name} has the labels {FIGURES[name].labels}, but got {labels}")
        key = (name, labels)
        found[key] = _both(FIGURES[name], found[key], value) if key in found else value
    return [Sample(name, labels, value) for (name, labels), value in found.items()]


def _both(figure: Figure, one: float | Tally, other: float | Tally) -> float | Tally:
    if isinstance(one, Tally) or isinstance(other, Tally):
        if not (isinstance(one, Tally) and isinstance(other, Tally)):
            raise TypeError("a histogram cannot be added to a number")
        return one + other
    if figure.kind == "gauge" and figure.over != "sum":
        return max(one, other) if figure.over == "max" else min(one, other)
    return one + other


def render(samples: Iterable[Sample], accept: str) -> tuple[bytes, str]:
    """The text, and its media type."""
    registry = CollectorRegistry()
    registry.register(_Once(list(samples)))
    encode, media_type = choose_encoder(accept)
    body: bytes = encode(registry)
    return body, media_type


class _Once(Collector):
    """Gives samples to the encoder."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def describe(self) -> list[Metric]:
        """Nothing: a registry that is used once need not know names before."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family for each figure of the table."""
        by_name: dict[str, list[Sample]] = {name: [] for name in FIGURES}
        for sample in self._samples:
            by_name[sample.name].append(sample)
        for name, samples in by_name.items():
            yield _family(name, FIGURES[name], samples)


def _family(name: str, figure: Figure, samples: list[Sample]) -> Metric:
    if figure.kind == "histogram":
        histogram = HistogramMetricFamily(name, figure.help, labels=figure.labels)
        for sample in samples:
            if isinstance(sample.value, Tally):
                histogram.add_metric(sample.labels, _buckets(sample.value), sample.value.sum)
        return histogram
    make = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    family = make(name, figure.help, labels=figure.labels)
    for sample in samples:
        if not isinstance(sample.value, Tally):
            family.add_metric(sample.labels, sample.value)
    return family


def _buckets(tally: Tally) -> list[tuple[str, float]]:
    ends = [*map(str, tally.bounds), "+Inf"]
    return list(zip(ends, tally.cumulative(), strict=True))
