"""What the tests of sources share: reading all of a source."""

import pyarrow as pa

from luban.data.sources.base import Reject, Source


def rows_of(source: Source, batch_rows: int = 65_536) -> list[dict[str, object]]:
    """All rows as dictionaries."""
    return table_of(source, batch_rows).to_pylist()


def table_of(source: Source, batch_rows: int = 65_536) -> pa.Table:
    """All rows as one table; fails unless all batches have one schema and the size asked for."""
    batches = [batch.rows for batch in source.read(batch_rows)]
    assert all(batch.num_rows <= batch_rows for batch in batches)
    return pa.Table.from_batches(batches)


def rejects_of(source: Source, batch_rows: int = 65_536) -> list[Reject]:
    """All rejects, in the order they were given."""
    return [reject for batch in source.read(batch_rows) for reject in batch.rejects]
