"""Sinks: one file per kind of file that answers are written to."""

SINKS = {
    "csv": ".csv:CsvSink",
    "excel": ".excel:ExcelSink",
    "jsonl": ".jsonl:JsonLinesSink",
    "parquet": ".parquet:ParquetSink",
}
