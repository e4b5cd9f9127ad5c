"""A worker process that searches, loads and sets the quality of datasets in a folder that others use: ``one_worker.py FOLDER QC``."""

import sys
import warnings


def main(root, qc):
    from framelode.adapters.one.api import One

    sys.stderr = sys.stdout
    warnings.simplefilter("error")
    one = One(root, mode="local")
    for turn in range(3):
        assert len(one.search(subject="mouse")) == 2
        assert one.load_object("mouse/2021-02-05/001", "wheel").position.size == 6
        ids = one.list_datasets("mouse/2021-02-05/001", details=True).index
        one.set_qc(ids[turn % len(ids)], qc)
        one.load_cache()
        assert len(one.list_datasets()) == 9
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
