"""Folds of key rows: reference, vectorised, incremental and merged are one, mixed keys that meet included."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import reader
from histories import key_with_mix
from hypothesis import assume, given
from hypothesis import strategies as st
from patience import join
from reference_state import reference_fold

from framelode.engine.errors import IntegrityError
from framelode.engine.keys import KeyRow, Operation, key_columns, mix
from framelode.projections.states import fingerprint as fingerprints
from framelode.projections.states import key_rows
from framelode.projections.states.fingerprint import bucket_bits, fingerprint
from framelode.projections.states.fold import (
    EMPTY,
    MIXED_BITS,
    NO_BATCHES,
    POSITION,
    TOMBSTONE,
    BatchIndex,
    State,
    event_positions,
    fold_rows,
    live_positions,
    merge,
    settle,
    settle_onto,
    stable_order,
)
from framelode.projections.states.key_rows import KeyRows

MASK = (1 << 64) - 1
KEYS = [
    *(key_with_mix(mixed, lo) for mixed in (0, 1, 1 << 63, MASK) for lo in (0, 1, 7, MASK)),
    *(key_with_mix(mixed, lo) for mixed in (0xFFFF, 0x10000, (1 << 63) + 5, MASK - 1) for lo in (2, 0)),
    *(number.to_bytes(16, "big") for number in range(1, 9)),
    b"\0" * 15 + b"\x80",
    b"\xff" * 16,
]


class Batches:
    """Key rows cut in record batches, with gaps of other streams between them; stands for a log."""

    def __init__(self, events, cuts, gaps):
        bounds = sorted({0, len(events), *(cut % (len(events) + 1) for cut in cuts)})
        position = 1
        self.events = []
        self.pieces = []
        self.held = {}
        for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
            position += gaps[number % len(gaps)] if gaps else 0
            piece = events[start:stop]
            rows = np.frombuffer(b"".join(key + bytes([op]) + digest for key, op, digest in piece), KeyRow)
            self.held[position] = rows.tobytes()
            self.pieces.append((rows, position, len(piece)))
            self.events += [(position + i, key, op, digest) for i, (key, op, digest) in enumerate(piece)]
            position += len(piece)
        self.head = position - 1
        self.key_rows = KeyRows(self)

    def rows_at(self, first_positions):
        return {first: self.held[first] for first in first_positions}

    def index(self, pieces=None):
        pieces = self.pieces if pieces is None else pieces
        return BatchIndex(
            np.array([first for _, first, _ in pieces], np.uint64),
            np.array([count for *_, count in pieces], np.uint64),
        )

    def rows(self, positions):
        return self.key_rows(self.index(), positions)

    def fold(self, pieces=None):
        pieces = self.pieces if pieces is None else pieces
        index = self.index(pieces)
        rows = np.concatenate([np.empty(0, KeyRow), *(rows for rows, *_ in pieces)])
        return fold_rows(rows, event_positions(index.first_positions, index.counts))

    def state(self):
        return State((), NO_BATCHES, 0, 0, 0, self.key_rows)

    def advance(self, state, pieces):
        index = self.index(pieces)
        state.advance(np.concatenate([rows for rows, *_ in pieces]), index.first_positions, index.counts)

    def last_of_each(self, upto=None):
        last = {}
        for position, key, op, digest in self.events:
            if upto is None or position <= upto:
                last[key] = (position, op, digest)
        return last

    def reference(self, upto=None):
        chosen = [(p, key, op) for p, key, op, _ in self.events if upto is None or p <= upto]
        return reference_fold(chosen)


def as_history(choices):
    """Turn choices ``(key, wish, digest)`` into events that can follow each other."""
    held = set()
    events = []
    for number, wish, digest in choices:
        key = KEYS[number]
        if wish == Operation.DELETE:
            if key not in held:
                continue
            held.discard(key)
            events.append((key, Operation.DELETE, bytes(16)))
        else:
            events.append((key, Operation.UPDATE if key in held else Operation.ADD, digest))
            held.add(key)
    return events


choice = st.tuples(
    st.integers(0, len(KEYS) - 1),
    st.sampled_from([Operation.ADD, Operation.ADD, Operation.DELETE]),
    st.sampled_from([b"\0" * 16, b"\1" * 16, b"\xff" * 16]),
)
choices = st.lists(choice, max_size=4) | st.lists(choice, min_size=20, max_size=80)
batches = st.builds(
    Batches,
    choices.map(as_history),
    st.lists(st.integers(0, 100), max_size=12),
    st.lists(st.integers(0, 3), max_size=3),
)


def by_position(run):
    return sorted(live_positions(run).tolist())


def check_key_order(run, rows_of):
    """A settled run has each key once, in the order of mix, then key."""
    rows = rows_of(run.positions & POSITION)
    mixes = mix(rows["hi"].astype(np.uint64), rows["lo"].astype(np.uint64))
    order = list(zip(mixes.tolist(), rows["hi"].tolist(), rows["lo"].tolist(), strict=True))
    assert order == sorted(set(order))
    assert run.mixed.tolist() == (mixes & MIXED_BITS).tolist()


@given(
    st.lists(st.integers(0, MASK), unique=True, max_size=40),
    st.lists(st.integers(0, 60), max_size=8),
    st.data(),
)
def test_equal_numbers_stay_in_order_whether_few_or_many(unique, doubled, data):
    numbers = data.draw(st.permutations(unique + [unique[at % len(unique)] for at in doubled if unique]))
    expected = sorted(range(len(numbers)), key=lambda at: (numbers[at], at))
    assert stable_order(np.array(numbers, np.uint64)).tolist() == expected


def test_batches_are_located_alike_with_a_table_of_all_positions():
    firsts, counts = np.array([3, 5, 11], np.uint64), np.array([2, 4, 1], np.uint64)
    index = BatchIndex(firsts, counts)
    wanted = np.array([3, 4, 5, 8, 11], np.uint64)
    assert index.prepared(100).numbers is not None
    for found in (index.locate(wanted), index.prepared(100).locate(wanted)):
        assert [each.tolist() for each in found] == [[0, 0, 1, 1, 2], [0, 1, 0, 3, 0]]


def test_batches_out_of_order_are_no_warning_of_numpy():
    """A damaged table returns them so; whoever reads the batches finds the damage."""
    firsts = np.array([3, (1 << 63) + 5, 11], np.uint64)
    assert BatchIndex(firsts, np.ones(3, np.uint64)).prepared(100).numbers is None


class TestKeysThatMeet:
    def test_the_mix_can_be_steered(self):
        for mixed in (0, 1, 12345, MASK):
            for lo in (0, 1, MASK):
                hi, low = key_columns(key_with_mix(mixed, lo))
                assert int(mix(hi, low)[0]) == mixed == reader.mix(key_with_mix(mixed, lo))

    def test_half_of_the_keys_here_meet(self):
        mixes = [reader.mix(key) for key in KEYS]
        kept = {mixed & int(MIXED_BITS) for mixed in mixes}
        assert len(set(KEYS)) == len(KEYS)
        assert len(mixes) - len(set(mixes)) >= 12
        assert len(set(mixes)) - len(kept) >= 4


class TestFolds:
    @given(batches)
    def test_vectorised_is_the_reference(self, log):
        run = settle(log.fold(), log.rows)
        assert by_position(run) == sorted(log.reference().values())
        check_key_order(run, log.rows)
        check_key_order(log.fold(), log.rows)
        marks = [
            p | int(TOMBSTONE) if op == Operation.DELETE else p for p, op, _ in log.last_of_each().values()
        ]
        assert sorted(run.positions.tolist()) == sorted(marks)

    @given(batches, st.lists(st.integers(0, 8), max_size=4))
    def test_partitions_merge_to_the_same(self, log, cuts):
        bounds = sorted({0, len(log.pieces), *(min(cut, len(log.pieces)) for cut in cuts)})
        parts = [log.fold(log.pieces[a:b]) for a, b in itertools.pairwise(bounds)]
        left = EMPTY
        for part in parts:
            left = merge([left, part])
        right = EMPTY
        for part in reversed(parts):
            right = merge([part, right])
        whole = settle(log.fold(), log.rows)
        for merged in (merge(parts), left, right):
            settled = settle(merged, log.rows)
            assert np.array_equal(settled.mixed, whole.mixed)
            assert np.array_equal(settled.positions, whole.positions)
        onto = EMPTY
        for part in parts:
            onto = settle_onto(onto, part, log.rows)
        assert np.array_equal(onto.mixed, whole.mixed)
        assert np.array_equal(onto.positions, whole.positions)

    @given(batches, st.data())
    def test_incremental_is_the_reference_at_every_step(self, log, data):
        state = log.state()
        done = 0
        while done < len(log.pieces):
            step = data.draw(st.integers(1, 3))
            log.advance(state, log.pieces[done : done + step])
            done = min(done + step, len(log.pieces))
            *_, (_, first, count) = log.pieces[:done]
            upto = first + count - 1
            assert state.last_position == upto
            if data.draw(st.booleans()):
                expected = log.reference(upto)
                assert by_position(state.settled()) == sorted(expected.values())
                check_key_order(state.settled(), log.rows)
            assert state.total == len(log.reference(upto))
            self.check_find(log, state, upto)

    def check_find(self, log, state, upto):
        found = state.find(*key_columns(b"".join(KEYS))).tolist()
        assert [state.locate(key)[0] for key in KEYS] == found
        last = log.last_of_each(upto)
        for key, mark in zip(KEYS, found, strict=True):
            position, op, _ = last.get(key, (0, 0, b""))
            assert mark == (position | int(TOMBSTONE) if op == Operation.DELETE else position)

    @given(batches, st.data())
    def test_a_child_does_not_move_its_parent(self, log, data):
        assume(len(log.pieces) > 1)
        cut = data.draw(st.integers(1, len(log.pieces) - 1))
        parent = log.state()
        log.advance(parent, log.pieces[:cut])
        child = parent.branch(0)
        before = by_position(parent.settled())
        log.advance(child, log.pieces[cut:])
        assert by_position(child.settled()) == sorted(log.reference().values())
        assert by_position(parent.settled()) == before == sorted(log.reference(parent.last_position).values())

    def test_reads_keys_only_where_mixes_meet(self):
        events = [(number.to_bytes(16, "big"), Operation.ADD, b"\1" * 16) for number in range(1, 9)]
        log = Batches(events, [4], [])
        state = log.state()
        log.advance(state, log.pieces)

        def refuse(positions):
            raise AssertionError("read keys")

        assert len(settle(log.fold(), refuse)) == 8

    def test_settling_and_advancing_at_once_loses_nothing(self):
        count = 300
        events = [(number.to_bytes(16, "big"), Operation.ADD, b"\1" * 16) for number in range(count)]
        log = Batches(events, range(count), [])
        state = log.state()
        stop = threading.Event()

        def settle_on():
            while not stop.is_set():
                state.settled()

        reading = threading.Thread(target=settle_on)
        reading.start()
        try:
            for piece in log.pieces:
                log.advance(state, [piece])
        finally:
            stop.set()
            join(reading)
        assert len(state.settled()) == count

    def test_a_position_outside_all_batches_is_damage(self):
        log = Batches([(KEYS[0], Operation.ADD, b"\1" * 16)] * 2, [1], [2])
        for position in (1, 2, 4, 99):
            with pytest.raises(IntegrityError, match=f"position {position}") as error:
                log.index().locate(np.array([position], np.uint64))
            assert error.value.position == position


class TestKeyRows:
    @given(batches, st.data())
    def test_rows_are_those_of_the_log_however_few_are_kept(self, log, data):
        positions = [position for position, *_ in log.events]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(key_rows, "_MOST_ROWS", data.draw(st.integers(1, 40)))
            patched.setattr(key_rows, "_ROWS_AT_ONCE", data.draw(st.integers(1, 20)))
            for _ in range(3):
                asked = data.draw(st.lists(st.sampled_from(positions))) if positions else []
                found = log.rows(np.array(asked, np.uint64))
                rows = {p: key + bytes([op]) + digest for p, key, op, digest in log.events}
                assert found.tobytes() == b"".join(rows[position] for position in asked)
                for first in log.held:
                    assert log.key_rows.key_at(first, 0) == rows[first][:16]

    def test_threads_read_while_rows_are_dropped(self, monkeypatch):
        events = [(number.to_bytes(16, "big"), Operation.ADD, b"\1" * 16) for number in range(300)]
        log = Batches(events, range(0, 300, 7), [])
        monkeypatch.setattr(key_rows, "_MOST_ROWS", 50)
        wrong = []

        def read(step):
            for place in range(0, 300 * step, step):
                position, key, *_ = log.events[place % 300]
                first = max(first for first in log.held if first <= position)
                if log.key_rows.key_at(first, position - first) != key:
                    wrong.append(position)

        threads = [threading.Thread(target=read, args=[step]) for step in (1, 7, 11, 13)]
        for thread in threads:
            thread.start()
        for thread in threads:
            join(thread)
        assert not wrong


class TestFingerprint:
    @given(batches)
    def test_is_that_of_the_documented_tree(self, log):
        state = log.state()
        if log.pieces:
            log.advance(state, log.pieces)
        found = fingerprint(state)
        held = {key: digest for key, (_, op, digest) in log.last_of_each().items() if op != Operation.DELETE}
        assert found.root == reader.fingerprint(held)
        assert found.total == len(held)

    @pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 513, 1024, 1025])
    def test_at_the_edges_of_buckets(self, count):
        state, held = grown(count)
        assert fingerprint(state).root == reader.fingerprint(held)

    @pytest.mark.long
    @pytest.mark.parametrize("count", [65_536, 65_537, 131_073, 300_000])
    def test_of_trees_of_several_levels(self, count):
        state, held = grown(count)
        assert fingerprint(state).root == reader.fingerprint(held)

    def test_of_a_tree_of_two_levels(self):
        state, held = grown(65_537)
        found = fingerprint(state)
        assert (found.bits, len(found.buckets)) == (9, 512)
        assert found.root == reader.fingerprint(held)

    @given(batches, st.data())
    def test_incremental_is_cold(self, log, data):
        state, known = log.state(), None
        done = 0
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(fingerprints, "BUCKET_FRAMES", data.draw(st.sampled_from([1, 3, 256])))
            patched.setattr(fingerprints, "_BUCKETS_AT_ONCE", data.draw(st.integers(1, 5)))
            while done < len(log.pieces):
                step = data.draw(st.integers(1, 3))
                log.advance(state, log.pieces[done : done + step])
                done += step
                if data.draw(st.booleans()):
                    known = fingerprint(state, known)
                    # A branch: to settle all of the state itself would leave nothing in parts.
                    cold = fingerprint(state.branch(0))
                    assert (known.root, known.total) == (cold.root, cold.total)
                    assert known.sizes.tolist() == cold.sizes.tolist()

    def test_operations_that_do_not_add_up_change_no_fingerprint(self):
        keys = [number.to_bytes(16, "big") for number in range(258)]
        events = [(key, Operation.ADD, b"\1" * 16) for key in keys[:257]]
        # A log of others may delete what it does not hold.
        log = Batches([*events, (keys[257], Operation.DELETE, bytes(16))], [256], [])
        state = log.state()
        log.advance(state, log.pieces[:1])
        known = fingerprint(state)
        log.advance(state, log.pieces[1:])
        found = fingerprint(state, known)
        assert found.root == fingerprint(state).root
        assert (state.total, known.bits, found.total, found.bits) == (256, 0, 257, 1)

    def test_incremental_is_cold_through_growth_and_shrinking(self):
        keys = [number.to_bytes(16, "big") for number in range(1200)]
        steps = [
            [(key, Operation.ADD, b"\1" * 16) for key in keys[:250]],
            [(key, Operation.ADD, b"\1" * 16) for key in keys[250:520]],
            [(keys[0], Operation.UPDATE, b"\2" * 16)],
            [(key, Operation.ADD, b"\1" * 16) for key in keys[520:]],
            [(key, Operation.DELETE, bytes(16)) for key in keys[3:1100]],
            [(keys[3], Operation.ADD, b"\3" * 16)],
            [(key, Operation.DELETE, bytes(16)) for key in (*keys[:4], *keys[1100:])],
        ]
        cuts = np.cumsum([len(step) for step in steps]).tolist()
        log = Batches([event for step in steps for event in step], cuts, [1])
        assert [count for *_, count in log.pieces] == [len(step) for step in steps]
        state, known, bits = log.state(), None, []
        for piece in log.pieces:
            log.advance(state, [piece])
            known = fingerprint(state, known)
            assert known.root == fingerprint(state).root
            bits.append(known.bits)
        assert bits == [0, 2, 2, 3, 0, 0, 0]
        assert known.root == fingerprint(log.state()).root, "nothing is left, as at the beginning"

    @given(choices, st.randoms())
    def test_the_same_content_by_another_history_has_the_same_root(self, made, random):
        log = Batches(as_history(made), [7, 20], [2])
        state = log.state()
        if log.pieces:
            log.advance(state, log.pieces)
        held = [
            (key, op, digest) for key, (_, op, digest) in log.last_of_each().items() if op != Operation.DELETE
        ]
        random.shuffle(held)
        fresh = Batches([(key, Operation.ADD, digest) for key, _, digest in held], [1], [])
        other = fresh.state()
        if fresh.pieces:
            fresh.advance(other, fresh.pieces)
        assert fingerprint(state).root == fingerprint(other).root

    @given(choices, st.integers(0, 127), st.booleans(), st.data())
    def test_one_bit_of_content_changes_it(self, made, bit, of_key, data):
        events = [event for event in as_history(made) if event[1] == Operation.ADD]
        events = list({key: (key, op, digest) for key, op, digest in events}.values())
        assume(events)
        index = data.draw(st.integers(0, len(events) - 1))
        changed = list(events)
        key, op, digest = events[index]
        flip = lambda value: (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(16, "big")
        changed[index] = (flip(key), op, digest) if of_key else (key, op, flip(digest))
        assume(len({key for key, *_ in changed}) == len(changed))
        roots = []
        for history in (events, changed):
            log = Batches(history, [], [])
            state = log.state()
            log.advance(state, log.pieces)
            roots.append(fingerprint(state).root)
        assert roots[0] != roots[1]

    def test_bucket_bits(self):
        for total in [*range(2000), 65_536, 65_537, 10**6, 10**9]:
            bits = bucket_bits(total)
            assert 256 << bits >= total
            assert bits == 0 or 256 << (bits - 1) < total


def grown(count):
    """Return a state of many frames, and its payload digests by key."""
    generator = np.random.default_rng(count)
    digests = generator.bytes(16 * count)
    held = {number.to_bytes(16, "big"): digests[16 * number : 16 * number + 16] for number in range(count)}
    log = Batches([(key, Operation.ADD, digest) for key, digest in held.items()], [100], [])
    state = log.state()
    if count:
        log.advance(state, log.pieces)
    return state, held
