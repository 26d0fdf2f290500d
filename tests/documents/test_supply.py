"""Supply chain: lock file, licences, audit, container; and no code execution from data."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from metaembed_demo.core.config import ROOT
from scripts import licences, lock
from scripts.lock import normal, pins, plain

LOCK = lock.LOCK.read_text(encoding="utf-8")
LOCKED = pins(LOCK)
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
    if file == "constraints.txt":  # it names packages of requirements-dev.txt too
        named = [requirement for requirement in named if normal(requirement.name) in LOCKED]
    assert len(named) > 10
    wrong = [
        str(r) for r in named if not r.specifier.contains(LOCKED.get(normal(r.name), "0.0"), prereleases=True)
    ]
    assert not wrong, "run: python scripts/lock.py"


def test_the_lock_is_complete() -> None:
    """Requirements of requirements.txt, followed transitively through installed packages."""
    todo = [(requirement, "") for requirement in required("requirements.txt")]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, extra = todo.pop()
        name = normal(requirement.name)
        if not holds(requirement, extra):
            continue
        assert name in LOCKED, f"{requirement} is not locked; run: python scripts/lock.py"
        assert requirement.specifier.contains(LOCKED[name], prereleases=True), str(requirement)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            found = distribution(name)
            # torch for a GPU asks for NVIDIA's libraries, which a lock for a CPU does without.
            if name != lock.UNHASHED and found.version == LOCKED[name]:
                todo += [(Requirement(text), wanted) for text in found.requires or []]
    assert {name for name, _ in seen} <= set(LOCKED)
    assert len(seen) > 60, "followed far enough to mean something"


def test_every_locked_package_but_torch_has_hashes() -> None:
    blocks = re.split(r"\n(?=\w)", LOCK[LOCK.index("\n" + next(iter(LOCKED))) + 1 :])
    assert len(blocks) == len(LOCKED)
    bare = [
        block.partition("==")[0] for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", block)
    ]
    assert bare == [lock.UNHASHED]


def test_the_lock_names_no_host_no_path_and_no_gpu_library() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    shape = re.compile(r"[a-z0-9][a-z0-9.-]*==[\w.!+]+( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not shape.fullmatch(line)] == []
    assert [name for name in LOCKED if name.startswith(("nvidia", "cuda", "triton"))] == []
    assert "+" not in "".join(LOCKED.values()), "a local version is found on no index"


def test_torch_loses_its_local_version_and_hashes_and_nothing_else_does() -> None:
    made = plain(
        "a==1+x \\\n    --hash=sha256:00\ntorch==2.1+cpu \\\n    --hash=sha256:11 \\\n    --hash=sha256:22\n"
    )
    assert made == lock.HEADER + "a==1+x \\\n    --hash=sha256:00\ntorch==2.1\n"


def test_pins_are_read_whatever_stands_around_them() -> None:
    text = "# x==9\nHugging_Face.hub==1.2 ; python_version > '3'\nb>=2\nc==3 \\\n    --hash=sha256:00\n"
    assert pins(text) == {"hugging-face-hub": "1.2", "c": "3"}


# Licences


def test_every_locked_package_is_in_the_table_with_its_licence() -> None:
    text = licences.DOCUMENT.read_text(encoding="utf-8")
    rows = text.partition(licences.BEGIN)[2].partition(licences.END)[0].strip().splitlines()
    listed = {tuple(row.strip("| ").split(" | ")[:2]) for row in rows[2:]}
    assert listed == set(LOCKED.items()), "run: python scripts/licences.py --write"
    assert "not stated" not in text
    # Another version that happens to be installed may have another licence.
    here = [(n, v) for n, v in LOCKED.items() if distribution(n).version.partition("+")[0] == v]
    assert len(here) > 10
    missing = [row for row in licences.table(here).splitlines() if row not in rows]
    assert not missing, "run: python scripts/licences.py --write"


def test_the_script_puts_the_table_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "licences.md"
    document.write_text(f"before\n{licences.BEGIN}\nold\n{licences.END}\nafter\n")
    one = tmp_path / "requirements.lock"
    one.write_text(f"packaging=={distribution('packaging').version}\n")
    monkeypatch.setattr(licences, "DOCUMENT", document)
    monkeypatch.setattr(licences, "LOCK", one)
    assert licences.main(["--write"]) == 0
    written = document.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "old" not in written
    assert re.search(r"\| packaging \| [\d.]+ \| Apache-2.0 OR BSD-2-Clause \| https://\S+ \|", written)
    one.write_text("no-such-package-here==1\n")
    assert licences.main([]) == 1
    with pytest.raises(ValueError, match="has no"):
        licences.filled("no marks", "")


# The audit


def audited(folder: Path, answers: str) -> str:
    """Output of scripts/audit.sh for two packages and given pip-audit results."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "audit.sh", folder / "scripts")
    (folder / "requirements.lock").write_text("good==1 \\\n    --hash=sha256:00\nworse==2\n")
    tool = folder / ".cache" / "audit" / "bin" / "pip-audit"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\n{answers}\n")
    tool.chmod(0o755)
    run = subprocess.run(["bash", "scripts/audit.sh"], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout


def test_the_audit_warns_of_what_is_known_and_never_fails(tmp_path: Path) -> None:
    bad = {"name": "worse", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
    answer = json.dumps({"dependencies": [{"name": "good", "version": "1", "vulns": []}, bad]})
    said = audited(tmp_path, f"echo '{answer}'; exit 1")
    assert "WARNING worse 2 PYSEC-1 fixed in 3" in said
    assert "2 packages asked about, 1 known" in said


def test_the_audit_says_when_nothing_could_be_asked(tmp_path: Path) -> None:
    skipped = json.dumps({"dependencies": [{"name": "good", "skip_reason": "not found"}]})
    for folder, answers in (("a", f"echo '{skipped}'"), ("b", "echo broken >&2; exit 2")):
        (tmp_path / folder).mkdir()
        said = audited(tmp_path / folder, answers)
        assert "nothing was asked" in said
        assert "0 known" not in said


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


def variables(source: str) -> set[str]:
    """Environment variables that core/config.py reads: `_env("X")` is METAEMBED_X, `environ.get("X")` is
    X."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            if dotted(node.func) == "_env":
                found.add("METAEMBED_" + str(node.args[0].value))
            elif dotted(node.func) in {"os.environ.get", "os.getenv"}:
                found.add(str(node.args[0].value))
    return found


def test_hosting_lists_every_setting_and_no_other() -> None:
    read = variables((ROOT / "metaembed_demo" / "core/config.py").read_text(encoding="utf-8"))
    assert {"METAEMBED_CACHE", "METAEMBED_VLM_BATCH", "GRADIO_SERVER_NAME"} <= read
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
