"""Methods that find and remove annotations by the rules of the open API, in which nothing found is no error."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ....engine.errors import UsageError
from ....engine.validation import identifier, label_list, whole
from .classes import OpenObject


class Annotated(OpenObject):
    """Base class of what has annotations of its own."""

    @abstractmethod
    def _own_annotations(self) -> list[Any]:
        """Return the annotations. Changes of the list are changes of the object."""

    def remove_annotation(self, index: int | None = None, **kwargs: Any) -> dict[str, Any] | None:
        """Remove one annotation and return its wire form, or None if nothing matches.

        Parameters
        ----------
        index : int, optional
            Index of the annotation.
        **kwargs
            `id`, instead of the index.

        Raises
        ------
        UsageError
            Not exactly one of index and id is given.
        """
        wanted = kwargs.pop("id", None)
        if kwargs or (index is None) == (wanted is None):
            raise UsageError(f"pass either index or id to remove an annotation{_without(kwargs)}")
        places = self._places(wanted, index)
        return self._own_annotations().pop(places[0]).to_dict() if places else None

    def remove_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        label: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Remove the annotations with an id, with any of the labels, or both; without arguments, all of them.

        Returns
        -------
        list of dict
            The wire forms of the annotations removed.
        """
        own = self._own_annotations()
        wanted = {*label_list(label, "label"), *label_list(labels, "labels")}
        places = [i for i in self._places(id) if not wanted or wanted.intersection(own[i].labels)]
        removed = [own[place].to_dict() for place in places]
        for place in reversed(places):
            del own[place]
        return removed

    def get_all_annotations(self) -> list[dict[str, Any]]:
        """Return the wire forms of all annotations."""
        return self.get_annotations()

    def get_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        index: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the wire forms of the annotations with an id or at an index; an empty list if there are none."""
        own = self._own_annotations()
        return [own[place].to_dict() for place in self._places(id, index)]

    def _places(self, id: str | float | None, index: int | None = None) -> list[int]:  # noqa: A002
        own = self._own_annotations()
        places = list(range(len(own)))
        if index is not None:
            return places[whole(index, "index") :][:1]
        if id is None:
            return places
        wanted = identifier(id)
        return [place for place in places if own[place].id == wanted]


def _without(options: dict[str, Any]) -> str:
    return f", without {', '.join(options)}" if options else ""
