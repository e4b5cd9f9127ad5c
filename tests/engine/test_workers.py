"""Threads that work through items: nothing goes on once their caller is told of an error."""

import threading
import time

import pytest
from patience import PATIENCE

from framelode.engine.parallel import ThreadWorkers


@pytest.mark.parametrize("error", [OSError("broken"), KeyboardInterrupt()])
def test_nothing_is_begun_or_still_going_on_after_an_error(error):
    workers = ThreadWorkers(4, "test")
    begun, over, failed = [], [], threading.Event()

    def work(number):
        begun.append(number)
        if number == 2:
            failed.set()
            raise error
        assert failed.wait(PATIENCE)
        time.sleep(0.001)
        over.append(number)

    try:
        with pytest.raises(type(error)):
            workers.map(work, range(10_000))
        assert len(begun) < 10_000
        assert sorted(over) == sorted(set(begun) - {2})
    finally:
        workers.close()
