"""Data larger than memory: a file of 200 MB is read in far less."""

import subprocess
import sys

import pytest

READ = """
import sys
import luban.data.sources.files
from luban.data.sources import open_path

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1000

before = peak()
rows = sum(batch.rows.num_rows for batch in open_path(sys.argv[1]).read())
print(rows, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_200_megabytes_of_csv_are_read_in_150(tmp_path):
    path = tmp_path / "large.csv"
    block = "".join(f'{i},"这家酒店很好, number {i}",{i % 13},x{i % 7}\n' for i in range(20_000)).encode()
    with path.open("wb") as out:
        out.write(b"id,text,a,b\n")
        blocks = 0
        while out.tell() < 200_000_000:
            out.write(block)
            blocks += 1
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    rows, grown_mb = done.stdout.split()
    assert int(rows) == blocks * 20_000
    assert float(grown_mb) < 150
