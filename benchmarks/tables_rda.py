"""One table of R's own format as CSV, and its column types as JSON: run by the environment that has `rdata`.

python benchmarks/tables_rda.py TABLE.rda OUT.csv
"""

import json
import sys
import warnings
from pathlib import Path

import rdata


def main(table: str, out: str) -> None:
    warnings.simplefilter("ignore")  # of an encoding that the file does not state; all is ASCII
    (frame,) = rdata.read_rda(table).values()
    frame.columns = [str(name) for name in frame.columns]
    frame.to_csv(out, index=False)
    numbers = [name for name in frame.columns if frame[name].dtype.kind in "fi"]
    Path(out).with_suffix(".json").write_text(json.dumps({"numbers": numbers}), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
