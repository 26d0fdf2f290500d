"""Supply chain: lock file, licences, audit, container; and no code execution from data."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from metaembed_demo.core import config
from metaembed_demo.core.config import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
AGAIN = "run the command in the head of requirements.lock"


def pins(text: str) -> dict[str, str]:
    """Name, normalised, -> version of every pinned line of a requirements file; markers are passed over."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


# torch is installed apart, as its CPU build, which no index has that holds the other packages.
APART = "torch"
HASHED = pins(LOCK)
LOCKED = {**HASHED, APART: pins(CONSTRAINTS)[APART]}
# What the lock is made for; extras are looked at where they are asked for.
LINUX = {
    "python_version": "3.11",
    "python_full_version": "3.11.7",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
}
# Calls that run what data says, and why one may stand all the same: "file:function" -> reason. None does.
ALLOWED: dict[str, str] = {}
CODE = sorted([ROOT / "app.py", *(ROOT / "metaembed_demo").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])


def required(file: str) -> list[Requirement]:
    lines = (
        line.partition(" #")[0].strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
    )
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def holds(requirement: Requirement, extra: str = "") -> bool:
    return not requirement.marker or requirement.marker.evaluate({**LINUX, "extra": extra})


# The lock


@pytest.mark.parametrize("file", ["requirements.txt", "constraints.txt"])
def test_the_lock_satisfies(file: str) -> None:
    named = [requirement for requirement in required(file) if holds(requirement)]
    if file == "constraints.txt":  # it names packages of extras too
        named = [requirement for requirement in named if canonicalize_name(requirement.name) in LOCKED]
    assert len(named) > 10
    wrong = [
        str(r)
        for r in named
        if not r.specifier.contains(LOCKED.get(canonicalize_name(r.name), "0.0"), prereleases=True)
    ]
    assert not wrong, AGAIN


def test_the_lock_is_complete() -> None:
    """Requirements of requirements.txt, followed transitively through installed packages."""
    todo = [(requirement, "") for requirement in required("requirements.txt")]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if not holds(requirement, extra):
            continue
        assert name in LOCKED, f"{requirement} is not locked; {AGAIN}"
        assert requirement.specifier.contains(LOCKED[name], prereleases=True), str(requirement)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            found = distribution(name)
            # torch for a GPU asks for NVIDIA's libraries, which a lock for a CPU does without.
            if name != APART and found.version == LOCKED[name]:
                todo += [(Requirement(text), wanted) for text in found.requires or []]
    assert {name for name, _ in seen} <= set(LOCKED)
    assert len(seen) > 60, "followed far enough to mean something"


def test_every_locked_package_has_hashes_and_torch_stands_apart() -> None:
    blocks = re.split(r"\n(?=\w)", LOCK[LOCK.index("\n" + next(iter(HASHED))) + 1 :])
    assert len(blocks) == len(HASHED)
    assert [b for b in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", b)] == []
    assert APART not in HASHED
    assert "-c /tmp/constraints.txt torch" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_lock_names_no_host_no_path_and_no_gpu_library() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    shape = re.compile(r"[a-z0-9][a-z0-9.-]*==[\w.!+]+( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not shape.fullmatch(line)] == []
    assert [name for name in LOCKED if name.startswith(("nvidia", "cuda", "triton"))] == []
    assert "+" not in "".join(LOCKED.values()), "a local version is found on no index"
    assert "://" not in LOCK
    assert " /" not in LOCK


# Licences


def test_every_locked_package_is_in_the_table_with_its_licence() -> None:
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in text.partition("## Packages")[2].splitlines()
        if row.startswith("|")
    ]
    listed = {canonicalize_name(name): version for name, version, *_ in rows[2:]}
    assert listed == LOCKED, "docs/licences.md says which command makes the table"
    unstated = [name for name, _, licence, _ in rows[2:] if licence in {"", "UNKNOWN"}]
    assert [name for name in unstated if f"`{name}`" not in text] == [], "say above where it is stated"


# No code runs what data says


def dotted(node: ast.expr) -> str:
    """`a.b.c` as written; what is neither name nor attribute is a question mark."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def unsafe(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, reason) of code that unpickles, evaluates, or starts a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            for name in [module, *(alias.name for alias in node.names)]:
                if name.split(".")[0] in {
                    "pickle",
                    "cPickle",
                    "_pickle",
                    "cloudpickle",
                    "dill",
                    "joblib",
                    "shelve",
                    "marshal",
                }:
                    yield node.lineno, f"imports {name}"
                if isinstance(node, ast.ImportFrom) and module == "torch" and name == "load":
                    yield node.lineno, "imports torch.load by name, where its options cannot be checked"
        if isinstance(node, ast.Call):
            yield from ((node.lineno, why) for why in risks(node))


def risks(call: ast.Call) -> Iterator[str]:
    name = dotted(call.func)
    given = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    named = {k.arg for k in call.keywords}
    if name.removeprefix("builtins.") in {"eval", "exec", "compile", "__import__"}:
        yield f"calls {name}"
    if name == "torch.load" and given.get("weights_only") is not True:
        yield "torch.load without weights_only=True"
    if "allow_pickle" in named and given.get("allow_pickle") is not False:
        yield "allow_pickle other than False"
    if "trust_remote_code" in named and given.get("trust_remote_code") is not False:
        yield "trust_remote_code other than False"
    if name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
        yield f"{name} instead of yaml.safe_load"
    if "shell" in named and given.get("shell") is not False:
        yield "a shell"
    if name in {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}:
        yield f"{name} starts a shell"
    if name in {"pd.read_pickle", "pandas.read_pickle"}:
        yield "read_pickle"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_runs_what_data_says(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    found = [(line, why) for line, why in unsafe(ast.parse(path.read_text(encoding="utf-8")))]
    assert [f"{place}:{line}: {why}" for line, why in found if f"{place}:{why}" not in ALLOWED] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import torch; torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "eval(text)",
        "exec(text)",
        "builtins.eval(text)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "subprocess.getoutput(text)",
    ],
)
def test_what_runs_data_is_found(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "np.load(path)",
        "model.eval()",
        "Network(path).eval()",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
        "yaml.safe_load(text)",
        "subprocess.run(command)",
        "re.compile(text)",
    ],
)
def test_what_is_safe_passes(code: str) -> None:
    assert list(unsafe(ast.parse(code))) == []


# Hosting


def test_hosting_lists_every_setting_and_no_other() -> None:
    kinds = config.Settings.__subclasses__()
    read = {name for kind in kinds for names in config.variables(kind).values() for name in names}
    assert {"METAEMBED_CACHE", "METAEMBED_VLM_BATCH", "GRADIO_SERVER_NAME", "SPACE_ID"} <= read
    text = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
    rows = [
        row.split("|")[1] for row in text.partition("## Settings")[2].splitlines() if row.startswith("| `")
    ]
    listed = [name for cell in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", cell)]
    assert sorted(listed) == sorted(read)


def test_the_image_copies_what_is_there_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    copied = [source for step in steps if step[0] == "COPY" for source in step[1:-1]]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [source for source in copied if f"!{source}" not in kept] == [], "left out by .dockerignore"
    order = [step[0] for step in steps]
    assert "USER" in order
    user = order.index("USER")
    assert steps[user][1] not in {"root", "0"}
    assert order.index("CMD", user) > user, "the app starts as that user"
    assert [step for step in steps[user:] if "install" in step] == [], "nothing is installed as that user"
    assert re.search(r"HEALTHCHECK .*/health", text)
    assert "requirements.lock" in copied


def test_the_health_check_of_the_image_is_python() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    command = json.loads(re.search(r"HEALTHCHECK .*?CMD (\[.*\])", text)[1])  # type: ignore[index]
    assert command[:2] == ["python", "-c"]
    ast.parse(command[2])
