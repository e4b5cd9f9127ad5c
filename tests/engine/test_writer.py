"""The bulk writer: parts, commands that are repeated, what events record, and writers that race."""

from __future__ import annotations

import pytest

from framelode import DatasetVersion, SingleFrame
from framelode.engine.encoding import FrameEncoder
from framelode.engine.errors import ConflictError, PublishedError


def frames(count, start=0, **values):
    return [SingleFrame(id=f"{number:032x}", **values) for number in range(start, start + count)]


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("d")
    return DatasetVersion.get_current(dataset_name="d")


@pytest.fixture
def add(engine, draft):
    """Add frames through the writer, one frame a batch and so eight a part."""

    def add(items, version_id=None, **arguments):
        encoder = FrameEncoder(engine.new_id, None, engine.max_frame_bytes)
        arguments = {"batch_size": 1, **arguments}
        return engine.writer.add(version_id or draft.version_id, items, encoder, **arguments)

    return add


class TestPublishing:
    def test_nothing_slips_in_between_the_parts_of_a_call(self, engine, draft, add):
        def publish(report):
            engine.commands.publish_version(draft.version_id)

        with pytest.raises(PublishedError, match="create a child version"):
            add(frames(20), on_part=publish)
        assert len(draft) == 8

    def test_nothing_slips_in_right_before_the_first_part(self, engine, draft, add):
        def items():
            engine.commands.publish_version(draft.version_id)
            yield from frames(1)

        with pytest.raises(PublishedError):
            add(items())
        assert len(draft) == 0

    def test_nothing_slips_into_a_removed_version(self, engine, draft, add):
        def remove(report):
            engine.commands.remove_version(draft.version_id)

        with pytest.raises(Exception, match="was removed"):
            add(frames(9), on_part=remove)
        assert engine.states.current(draft.version_id).total == 8

    def test_a_command_is_not_resumed_after_the_publish(self, engine, draft, add):
        def stop(report):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            add(frames(20), command_id="c", on_part=stop)
        draft.publish_version()
        with pytest.raises(PublishedError):
            add(frames(20), command_id="c")
        assert len(draft) == 8

    def test_a_finished_command_is_repeated_after_the_publish(self, draft, add):
        first = add(frames(20), command_id="c")
        draft.publish_version()
        assert add(frames(20), command_id="c").added == first.added == 20


class TestCommands:
    def test_another_version_is_another_request(self, engine, draft, add):
        add(frames(2), command_id="c")
        child = DatasetVersion.create_snapshot(dataset_name="d")
        with pytest.raises(ConflictError, match="command id of its own"):
            add(frames(2), version_id=child.version_id, command_id="c")
