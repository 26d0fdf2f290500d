"""What to install where a package is missing that only some need."""


def install(extra: str = "") -> str:
    """The command that brings an extra of pyproject.toml, or without one what the app itself needs.

    >>> install("vlm")
    'pip install -c constraints.txt -e ".[vlm]"'
    """
    return "pip install -c constraints.txt -e " + (f'".[{extra}]"' if extra else ".")
