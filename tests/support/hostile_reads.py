"""Every way to read a version, each tried; alone, in a process whose memory is limited."""

import resource
import sys
from pathlib import Path

import msgspec


def reads_of(engine, version_id, frame_id):
    """Return the reads by name."""

    def version():
        return engine.version(version_id)

    def images(changes):
        return [change.to_dict(images=True) for change in changes]

    def diff():
        found = version().diff(_published(engine))
        return found.to_dict(frames=True), str(found)

    return {
        "iterate": lambda: [frame.to_dict() for frame in version()],
        "get": lambda: version().get_single_frame(frame_id).to_dict(),
        "stats": lambda: version().get_stats(),
        "history": lambda: images(version().history()),
        "frame history": lambda: images(version().history(frame_id)),
        "blame": lambda: repr(version().blame(frame_id)),
        "diff": diff,
        "html": lambda: (version()._repr_html_(), [frame._repr_html_() for frame in version()]),
    }


def _published(engine):
    with engine.session.read_catalog() as connection:
        (row, *_) = engine.session.catalog.versions(connection, state="published")
    return engine.version(row.version_id)


def errors_of(engine, version_id, frame_id):
    """Return what the reads raise, by name."""
    return tried(reads_of(engine, version_id, frame_id))


def tried(reads):
    found = {}
    for name, read in reads.items():
        try:
            read()
        except Exception as error:
            found[name] = error
    return found


def main(folder, version_id, frame_id, megabytes):
    import framelode

    with framelode.connect(folder) as engine:
        reads = reads_of(engine, version_id, frame_id) | {
            "verify": engine.verify,
            "Engine.history": lambda: list(engine.history()),
            "export": lambda: engine.export_log(Path(folder) / f"{version_id}.jsonl"),
            "rebuild": engine.rebuild,
            "missing": engine.missing_blobs,
        }
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        found = tried(reads)
    shown = {
        name: f"{type(error).__name__}{'' if getattr(error, 'position', None) is None else f'@{error.position}'}: {error}"
        for name, error in found.items()
    }
    sys.stdout.buffer.write(msgspec.json.encode(shown))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
