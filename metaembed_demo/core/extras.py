"""Install commands for missing optional packages."""


def install(extra: str = "") -> str:
    """The command that installs an extra of pyproject.toml; without `extra`, the app's own dependencies.

    >>> install("vlm")
    'pip install -c constraints.txt -e ".[vlm]"'
    """
    return "pip install -c constraints.txt -e " + (f'".[{extra}]"' if extra else ".")
