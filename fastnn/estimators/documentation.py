"""Class docstrings put together from what each class of a line of inheritance says about its own part."""

import inspect
import re

ORDER = ("Parameters", "Attributes", "See Also", "Notes", "References", "Examples")


def documented(cls):
    """Class decorator: gives the docstring what base classes document, so that each thing is described once.

    Parameters come in the order of the signature and attributes in that of the classes, derived ones first; a class's
    own description of a thing wins over a base's. Notes and references of all classes follow each other.
    """
    if cls.__doc__ is None:  # python -OO
        return cls
    line = [_sections(base.__doc__) for base in cls.__mro__ if base.__module__.startswith("fastnn.") and base.__doc__]
    own = line[0]
    described = {name: _entries(line, name) for name in ("Parameters", "Attributes")}
    wanted = list(inspect.signature(cls).parameters)
    own["Parameters"] = _join(sorted(_only(described["Parameters"], wanted), key=lambda entry: wanted.index(entry[0])))
    own["Attributes"] = _join(described["Attributes"].items())
    for name in ("Notes", "References"):
        bodies = [sections[name] for sections in line if name in sections]
        if bodies:
            own[name] = ("\n\n" if name == "Notes" else "\n").join(bodies)
    parts = [own[""]] + [f"{name}\n{'-' * len(name)}\n{own[name]}" for name in ORDER if own.get(name)]
    cls.__doc__ = "\n\n".join(parts) + "\n"
    return cls


def _sections(docstring):
    """Heading -> body; the text before the first heading under ""."""
    first, *rest = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(docstring), flags=re.M)
    return {"": first.strip()} | {name: body.strip() for name, body in zip(rest[::2], rest[1::2], strict=True)}


def _entries(line, section):
    """First name -> text of each entry, such as "tol" -> "tol : float, default=1e-4\\n    Least ..."."""
    found, known = {}, set()
    for sections in line:
        for entry in re.split(r"\n\n(?=\S)", sections.get(section, "")):
            names = entry.partition(" :")[0].split(", ")
            if entry and not known.intersection(names):
                found[names[0]] = entry
                known.update(names)
    return found


def _only(entries, names):
    return [(name, text) for name, text in entries.items() if name in names]


def _join(entries):
    return "\n\n".join(text for _, text in entries)
