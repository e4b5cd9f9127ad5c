"""Files of a few kilobytes that would take gigabytes, imported in a process whose memory is limited.

Prints ``name: kind of error: message`` of each file given.
"""

import resource
import sys
from pathlib import Path


def main(folder, megabytes):
    import pyarrow.parquet  # noqa: F401 - what it maps is not counted

    import framelode
    from framelode.engine.errors import FramelodeError

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number, file in enumerate(sorted(Path(folder).glob("*.*"))):
        with framelode.connect(Path(folder) / f"engine-{number}") as engine:
            try:
                engine.import_log(file)
                print(f"{file.name}: nothing")
            except FramelodeError as error:
                print(f"{file.name}: {type(error).__name__}: {error}")
            except BaseException as error:
                print(f"{file.name}: {type(error).__name__}!")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
