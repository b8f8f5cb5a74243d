"""Sources: one file per kind of place that rows come from. Does not know column types or models."""

SOURCES = {
    "files": ".files:Files",
    "csv": ".csv:Csv",
    "excel": ".excel:Excel",
    "jsonl": ".jsonl:JsonLines",
    "parquet": ".parquet:ParquetFiles",
    "text-files": ".text_files:TextFiles",
    "package": ".package:Package",
}
