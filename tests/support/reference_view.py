"""What a view yields, over plain dicts: the oracle of `DataView`."""

from fractions import Fraction
from math import ceil, floor

from blake3 import blake3

BITS = (1 << 64) - 1


def mixed(hi, lo):
    x = hi ^ (lo * 0x9E3779B97F4A7C15 & BITS)
    x ^= x >> 32
    x = x * 0xD6E8FEB86659FD93 & BITS
    x ^= x >> 32
    x = x * 0xD6E8FEB86659FD93 & BITS
    return x ^ (x >> 32)


def shuffled(items, text):
    digest = blake3(text.encode()).digest()
    hi, lo = (int.from_bytes(digest[at : at + 8], "little") for at in (0, 8))
    return [items[i] for i in sorted(range(len(items)), key=lambda i: mixed(i ^ hi, lo))]


def matches(query, frame):
    """Whether a query, a dict of plain values, holds of a frame in wire form."""
    rois = frame.get("rois", [])
    if "city" in query and frame.get("meta", {}).get("city") != query["city"]:
        return False
    if query.get("filter_by_roi") == "no_rois":
        return not rois
    if query.get("filter_by_roi") == "disabled":
        return True
    if query.get("together") and not any(set(query["together"]) <= set(roi.get("label", [])) for roi in rois):
        return False
    return all(holds(rule, rois) for rule in query.get("label_rules", []))


def holds(rule, rois):
    low, high = rule.get("conf_range", (-1, -1))
    count = 0
    for roi in rois:
        sure = roi.get("confidence")
        fits = (low == high == -1) or (
            sure is not None and (low == -1 or sure >= low) and (high == -1 or sure <= high)
        )
        count += fits and rule["label"] in roi.get("label", [])
    least, most = rule.get("count_range", (1, -1))
    return (least <= count and (most == -1 or count <= most)) != rule.get("must_not", False)


def mapped(frame, version, mapping, labels):
    """Return the labels and the number of each annotation of a frame."""
    told = []
    for roi in frame.get("rois", []):
        before = roi.get("label", [])
        after = []
        holding = [
            rule
            for rule in mapping
            if rule["version"] in {"*", version}
            and ("*" in rule["from_labels"] or set(rule["from_labels"]) <= set(before))
        ]
        for label in before:
            of_label = (rule for rule in holding if {label, "*"} & set(rule["from_labels"]))
            new = next((rule["to_label"] for rule in of_label), label)
            if new not in after:
                after.append(new)
        number = next((labels[label] for label in after if label in labels), -1) if labels else None
        told.append((after, number))
    return told


def shares(counts, weights):
    parts = [Fraction(str(float(w))) if c else 0 for c, w in zip(counts, weights, strict=True)]
    total = sum(parts)
    if not total:
        return None
    largest = max(c for c, part in zip(counts, parts, strict=True) if part)
    part = next(p for c, p in zip(counts, parts, strict=True) if p and c == largest)
    length = ceil(largest / (part / total))
    found = [floor(length * p / total) for p in parts]
    rests = sorted(range(len(parts)), key=lambda q: found[q] - length * parts[q] / total)
    for q in rests[: length - sum(found)]:
        found[q] += 1
    return found


def iterate(
    versions,
    queries,
    order="added",
    seed=0,
    limit=None,
    infinite=False,
    repeats=False,
    worker=(0, 1),
    most=200,
):
    """Return ``(version, frame)`` in the order of an iteration, at most so many of one that has no end.

    `versions` has a list of frames with their positions by version, in the order of the view.
    """
    found = {}
    of_query = [set() for _ in queries]
    for version, frames in versions.items():
        for frame in frames:
            for number, query in enumerate(queries):
                if query["version"] in {"*", version} and matches(query, frame):
                    of_query[number].add(frame["position"])
                    found.setdefault(frame["position"], (version, frame))
    key = {
        "context": lambda p: (
            found[p][1].get("context_id", ""),
            found[p][1].get("timestamp", 0),
            found[p][1]["id"],
            p,
        )
    }.get(order, lambda p: p)
    base = sorted(found, key=key)
    lists = [sorted(each, key=key) for each in of_query]
    weights = [query.get("weight", 1.0) for query in queries]
    drawn = None
    if len(queries) > 1 and (repeats or (len(set(weights)) > 1 and (infinite or order == "random"))):
        drawn = shares([len(each) for each in lists], weights)
    if repeats and drawn:
        infinite, limit = True, sum(drawn) if limit is None else limit
    left = None if limit is None else ceil(limit / worker[1])
    yielded, number, at = [], 0, 0
    while base and left != 0 and len(yielded) < most:
        one = one_pass(base, lists, drawn, order, seed, number)
        taken = [p for i, p in enumerate(one, at) if i % worker[1] == worker[0]][:left]
        yielded += taken
        left = None if left is None else left - len(taken)
        number, at = number + 1, at + len(one)
        if not infinite:
            break
    return [found[p] for p in yielded][:most]


def one_pass(base, lists, drawn, order, seed, number):
    if drawn is None:
        return shuffled(base, f"{seed}:{number}") if order == "random" else base
    parts = []
    for query, (frames, share) in enumerate(zip(lists, drawn, strict=True)):
        some = shuffled(frames, f"{seed}:{number}:{query}") if order == "random" else frames
        parts.append([some[i % len(some)] for i in range(share)])
    if order == "random":
        return shuffled([p for part in parts for p in part], f"{seed}:{number}")
    spread = [((2 * i + 1) / (2 * len(part)), p) for part in parts for i, p in enumerate(part)]
    return [p for _, p in sorted(spread, key=lambda each: each[0])]
