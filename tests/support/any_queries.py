"""Strategies of histories and of queries over them, with odd keys and types, and queries as Lucene text and as SQL."""

import re
from functools import reduce
from operator import and_, or_

from hypothesis import strategies as st

import framelode
from framelode import DatasetVersion, F, Roi
from framelode.engine.query import tree
from framelode.engine.query.matching import number_of
from framelode.engine.times import utc

SCALARS = [
    "",
    "a",
    "ab",
    "b*b",
    "1",
    "true",
    "2024-10-20",
    "2024-10-20T12:00:00+02:00",
    "é\0",
    0,
    1,
    2,
    1.5,
    -3.0,
    2**53 + 1,
    2**63,
    True,
    False,
    None,
]
KEYS = ["a", "b", "A", "a b", "x.y", "é:(*?", "keyword", "like", ""]
LABELS = ["car", "dog", "Bus Stop", "é"]


def values(levels):
    if not levels:
        return st.sampled_from(SCALARS)
    inner = values(levels - 1)
    return st.one_of(st.sampled_from(SCALARS), st.lists(inner, max_size=3), metas(levels - 1))


def metas(levels):
    return st.dictionaries(st.sampled_from(KEYS), values(levels), max_size=4)


ROIS = st.lists(
    st.fixed_dictionaries(
        {
            "label": st.lists(st.sampled_from(LABELS), max_size=2, unique=True),
            "type": st.sampled_from(["acme", "image", "odd"]),
        },
        optional={
            "confidence": st.sampled_from([0.0, 0.5, 0.8, 1.0]),
            "meta": metas(1),
            "id": st.sampled_from(["a", "b"]),
        },
    ),
    max_size=4,
)
SOURCES = st.fixed_dictionaries(
    {},
    optional={
        "uri": st.sampled_from(["s3://b/cam1/a.jpg", "s3://b/cam2/b.png"]),
        "width": st.sampled_from([1, 2]),
        "timestamp": st.sampled_from([0, 1, 5]),
        "meta": metas(0),
        "size": st.just(7),
        "hash": st.sampled_from(["a", "blake3:b"]),
        "masks": st.just([{"id": "a", "uri": "s3://b/a.png"}]),
        "preview": st.just({"uri": "s3://b/p.png", "timestamp": 5}),
    },
)
FRAMES = st.fixed_dictionaries(
    {"meta": metas(2), "rois": ROIS},
    optional={
        "sources": SOURCES.map(lambda each: [each]),
        "context_id": st.sampled_from(["a", "b"]),
        "num_frames": st.sampled_from([1, 2]),
    },
)
FIELDS = st.sampled_from(
    [
        *(
            f"meta.{path}"
            for path in ("a", "b", "A", "a b", "x.y", "a.b", "b.a", "a.x.y", "é:(*?", "keyword", "like")
        ),
        "id",
        "context_id",
        "timestamp",
        "num_frames",
        "sources.uri",
        "sources.id",
        "sources.width",
        "sources.size",
        "sources.hash",
        "sources.meta.a",
        "rois.label",
        "rois.confidence",
        "rois.type",
        "rois.meta.a",
    ]
)
ROI_FIELDS = st.sampled_from(["label", "confidence", "type", "id", "meta.a", "meta.a b", "meta.b"])
KNOWN = [value for value in SCALARS if value is not None] + [
    *LABELS,
    "box2d",
    0.5,
    0.8,
    "s3://b/cam1/a.jpg",
    "f1",
    "default",
]
TEXTS = st.sampled_from(
    [*(str(value).lower() if isinstance(value, bool) else str(value) for value in KNOWN), "1.0", "5e-1"]
)
PATTERNS = st.sampled_from(["*", "a*", "*b", "?", "b\\*b", "*cam1*", "*o*", "2024*", "f?"])
MOMENTS = st.sampled_from([None, 1729375200000000, 1729382400000000, 1729418400000000, 1729418400000001])


def comparisons(fields):
    bounds = st.one_of(
        st.tuples(*[st.sampled_from([None, -3, 0, 0.5, 1, 2**53, 2**53 + 1, 2**63])] * 2),
        st.tuples(*[st.sampled_from([None, "a", "ab", "c", ""])] * 2),
    ).filter(any)
    return st.one_of(
        st.builds(tree.Exists, fields),
        st.builds(tree.OneOf, fields, st.lists(st.sampled_from(KNOWN), max_size=3).map(tuple)),
        st.builds(tree.Phrase, fields, TEXTS),
        st.builds(tree.Wildcard, fields, PATTERNS),
        st.builds(
            lambda field, ends, low, high: tree.Range(field, *ends, low, high),
            fields,
            bounds,
            st.booleans(),
            st.booleans(),
        ),
        st.builds(tree.Period, fields, MOMENTS, MOMENTS),
    )


def joined(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda a, b: a & b, inner, inner),
            st.builds(lambda a, b: a | b, inner, inner),
            st.builds(lambda a: ~a, inner),
        ),
        max_leaves=5,
    )


ANY = st.just(tree.Everything()) | st.just(tree.Nothing())
ANNOTATIONS = st.builds(
    lambda where, least, most: tree.Annotations(where=where, at_least=least, at_most=most),
    joined(comparisons(ROI_FIELDS) | ANY),
    st.integers(0, 2),
    st.none() | st.integers(0, 3),
)
QUERIES = joined(comparisons(FIELDS) | ANNOTATIONS | ANY)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "delete", "publish"]),
        st.lists(st.tuples(st.integers(0, 7), FRAMES), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=6,
)


def frame_of(number, wire):
    if number == 7:
        sources = [{"id": side, "uri": f"s3://b/cam{side}/b.png"} for side in ("left", "right")]
        return framelode.frame_from_dict({"id": "f7", **wire, "sources": sources})
    return framelode.frame_from_dict({"id": f"f{number}", **wire})


def changed(engine, name, changes):
    """Make a dataset, and return what to read: versions, each with the first and the last position to read it at."""
    DatasetVersion.create_new_dataset(name)
    draft = DatasetVersion.get_current(dataset_name=name)
    since = engine.log.head().position
    moments = []
    for kind, frames in changes:
        if kind == "publish":
            draft = DatasetVersion.create_snapshot(dataset_name=name)
            since = engine.log.head().position
        elif kind == "delete":
            held = [f"f{number}" for number, _ in frames if f"f{number}" in draft]
            if held:
                draft.delete_frames(list(dict.fromkeys(held)))
        else:
            draft.add_frames([frame_of(*each) for each in dict(frames).items()])
        moments.append((draft, since, engine.log.head().position))
    return moments


def moment_of(moments, number):
    """Return a version and a position to read it at, which may be one within an append."""
    version, since, until = moments[number % len(moments)]
    return version, since + number % (until - since + 1)


def python_of(query):
    """Return the same query, written as a Python expression."""
    match query:
        case tree.And():
            return reduce(and_, map(python_of, query.queries))
        case tree.Or():
            return reduce(or_, map(python_of, query.queries))
        case tree.Not():
            return ~python_of(query.query)
        case tree.Annotations():
            return Roi(python_of(query.where)).count(query.at_least, query.at_most)
        case tree.Everything() | tree.Nothing():
            return query
    field = F[query.field]
    match query:
        case tree.Exists():
            return field.exists()
        case tree.OneOf():
            return field.one_of(query.values)
        case tree.Phrase():
            return field.text(query.text)
        case tree.Wildcard():
            return field.like(query.pattern)
        case tree.Period(since=None, until=None):
            return query
        case tree.Period():
            since, until = query.since, query.until
            return field.between(since and utc(since), until and utc(until - 1))
    if query.lower is None:
        return field <= query.upper if query.upper_included else field < query.upper
    if query.upper is None:
        return field >= query.lower if query.lower_included else field > query.lower
    # No expression has one end included and the other one not, of the same value.
    return field.between(query.lower, query.upper) if query.lower_included and query.upper_included else query


def lucene_of(query):
    """Return Lucene text with the same meaning, None if there is none."""
    if isinstance(query, (tree.And, tree.Or)):
        parts = [lucene_of(each) for each in query.queries]
        word = " AND " if isinstance(query, tree.And) else " OR "
        return None if None in parts else f"({word.join(parts)})"
    if isinstance(query, tree.Not):
        inner = lucene_of(query.query)
        return None if inner is None else f"(NOT ({inner}))"
    if isinstance(query, tree.Everything):
        return "*"
    if isinstance(query, (tree.Nothing, tree.Annotations, tree.OneOf, tree.Period)) or query.field.endswith(
        ".keyword"
    ):
        return None
    field = re.sub(r"([ :(*?])", r"\\\1", query.field)
    match query:
        case tree.Exists():
            return f"_exists_:{field}"
        case tree.Phrase():
            return f'{field}:"{query.text}"'
        case tree.Wildcard():
            return f"{field}:{query.pattern}" if query.pattern != "*" else None
    shown = ["*" if each is None else f'"{each}"' for each in (query.lower, query.upper)]
    return f"{field}:{'{['[query.lower_included]}{shown[0]} TO {shown[1]}{'}]'[query.upper_included]}"


def walk(query):
    yield query
    for each in getattr(query, "queries", (query.query,) if isinstance(query, tree.Not) else ()):
        yield from walk(each)


COLUMNS = {
    "f": {"id": "text", "context_id": "text", "timestamp": "number", "num_frames": "number"},
    "s": {
        **dict.fromkeys(("id", "uri", "content_type", "hash"), "text"),
        **dict.fromkeys(("width", "height", "timestamp", "size"), "number"),
    },
    "a": {"id": "text", "type": "text", "label": "texts", "confidence": "number"},
}
"""The columns of frames, sources and annotations that comparisons may ask for."""

TABLES = {"sources": "s", "rois": "a"}


class Sql:
    """A query as a condition of SQL over the tables of a version, with its parameters."""

    def __init__(self):
        self.parameters = {}

    def statement(self, query):
        """Return the SELECT of the ids of the frames of which a query holds."""
        return f"SELECT f.id FROM frames($version, as_of => $at) f WHERE {self.of_frames(query)} ORDER BY f.position"

    def value(self, value):
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def of_frames(self, query):
        match query:
            case tree.Annotations():
                found = self.of_rows(query.where, "a")
                counted = f"(SELECT count(*) FROM annotations($version, as_of => $at) a WHERE a.frame_id = f.id AND {found})"
                most = "" if query.at_most is None else f" AND {counted} <= {query.at_most}"
                return f"({counted} >= {query.at_least}{most})"
            case _ if hasattr(query, "field") and query.field.partition(".")[0] in TABLES:
                table, _, below = query.field.partition(".")
                alias = TABLES[table]
                called = {"s": "sources", "a": "annotations"}[alias]
                found = self.comparison(query, alias, below) if below else "true"
                return f"EXISTS (SELECT 1 FROM {called}($version, as_of => $at) {alias} WHERE {alias}.frame_id = f.id AND {found})"
        return self.joined(query, self.of_frames, "f")

    def of_rows(self, query, alias):
        return self.joined(query, lambda each: self.of_rows(each, alias), alias)

    def joined(self, query, inner, alias):
        match query:
            case tree.Everything() | tree.Nothing():
                return str(isinstance(query, tree.Everything)).lower()
            case tree.And() | tree.Or():
                word = " AND " if isinstance(query, tree.And) else " OR "
                return f"({word.join(map(inner, query.queries))})"
            case tree.Not():
                return f"(NOT {inner(query.query)})"
        return self.comparison(query, alias, query.field)

    def comparison(self, query, alias, field):
        if field.partition(".")[0] == "meta":
            return self.of_metadata(query, alias, f"$.{field.partition('.')[2]}")
        column, kind = f"{alias}.{field}", COLUMNS[alias][field]
        if kind == "texts":
            return f"EXISTS (SELECT 1 FROM unnest({column}) l(v) WHERE {self.text(query, 'v')})"
        found = self.text(query, column) if kind == "text" else self.number(query, column, column)
        return f"({column} IS NOT NULL AND {found})"

    def of_metadata(self, query, alias, path):
        """Return that a leaf of the metadata matches. Its path is told without the places in lists and without quotes."""
        at = r"replace(regexp_replace(t.fullkey, '\[\d+\]', '', 'g'), '\"', '')".replace(r"\"", '"')
        wanted = self.value(path)
        there = f"{at} = {wanted}"
        if isinstance(query, tree.Exists):
            there = f"({there} OR starts_with({at}, {wanted} || '.'))"
        text, whole, double = "t.atom->>'$'", "TRY_CAST(t.atom AS HUGEINT)", "TRY_CAST(t.atom AS DOUBLE)"
        holds = (
            f"CASE WHEN t.type = 'VARCHAR' THEN {self.text(query, text)} WHEN t.type = 'BOOLEAN' THEN {self.boolean(query, text)} "
            f"WHEN t.type = 'DOUBLE' THEN {self.number(query, double, double)} ELSE {self.number(query, whole, double)} END"
        )
        leaf = "t.atom IS NOT NULL AND t.type NOT IN ('NULL', 'OBJECT', 'ARRAY')"
        return f"EXISTS (SELECT 1 FROM json_tree({alias}.meta) t WHERE {leaf} AND {there} AND {holds})"

    def text(self, query, value):
        match query:
            case tree.Exists():
                return "true"
            case tree.OneOf():
                return self.one_of(value, [each for each in query.values if isinstance(each, str)])
            case tree.Phrase():
                return f"({value}) = {self.value(query.text)}"
            case tree.Wildcard():
                return f"regexp_full_match({value}, {self.value(expression_of(query.pattern))}, 's')"
            case tree.Range() if isinstance(query.lower, str) or isinstance(query.upper, str):
                return self.between(query, lambda _: f"({value})")
            case tree.Period():
                at = f"epoch_us(TRY_CAST({value} AS TIMESTAMPTZ))"
                since = "" if query.since is None else f" AND {at} >= {query.since}"
                return f"coalesce({at} IS NOT NULL{since}{'' if query.until is None else f' AND {at} < {query.until}'}, false)"
        return "false"

    def boolean(self, query, value):
        match query:
            case tree.Exists():
                return "true"
            case tree.OneOf():
                return self.one_of(
                    value, [str(each).lower() for each in query.values if isinstance(each, bool)]
                )
            case tree.Phrase():
                return f"({value}) = {self.value(query.text)}"
        return "false"

    def number(self, query, whole, double):
        """Return that a number matches: integers are compared as such with integers, else as doubles."""

        def side(value):
            return whole if isinstance(value, int) else double

        match query:
            case tree.Exists():
                return "true"
            case tree.OneOf():
                wanted = [
                    each
                    for each in query.values
                    if isinstance(each, int | float) and not isinstance(each, bool)
                ]
                return f"({' OR '.join(f'{side(each)} = {self.value(each)}' for each in wanted) or 'false'})"
            case tree.Phrase():
                number = number_of(query.text)
                return "false" if number is None else f"{side(number)} = {self.value(number)}"
            case tree.Range() if not isinstance(query.lower, str) and not isinstance(query.upper, str):
                return self.between(query, side)
        return "false"

    def one_of(self, value, wanted):
        return f"({value}) IN ({', '.join(map(self.value, wanted))})" if wanted else "false"

    def between(self, query, side):
        bounds = []
        for bound, sign, included in (
            (query.lower, ">", query.lower_included),
            (query.upper, "<", query.upper_included),
        ):
            if bound is not None:
                bounds.append(f"{side(bound)} {sign}{'=' if included else ''} {self.value(bound)}")
        return f"({' AND '.join(bounds)})"


def expression_of(pattern):
    """Return the regular expression of a wildcard."""
    found, at = "", 0
    while at < len(pattern):
        is_escape = pattern[at] == "\\" and pattern[at + 1 : at + 2] in {"*", "?", "\\"}
        at += is_escape
        char = pattern[at]
        special = not is_escape and char in "*?"
        found += (".*" if char == "*" else ".") if special else re.escape(char)
        at += 1
    return found


def sql_of(query):
    """Return a SELECT of the ids of frames with the same meaning, and its parameters."""
    made = Sql()
    statement = made.statement(query)
    return statement, made.parameters
