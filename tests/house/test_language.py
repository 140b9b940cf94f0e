"""The language of the code: names, docstrings, links and citations."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "sdk/tactful",
    "server_aggregator/tactful_aggregator",
    "lab/tactful_lab",
)
# Names that say nothing about their value.
VAGUE = re.compile(
    "one|found|known|told|kept|made|here|mine|own|said|asked|what|given|seen|shown"
)
QUESTION_WORDS = ("What", "Whether", "How", "Which", "Where", "Who")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]*))?\)")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", *patterns]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / line for line in listing.stdout.splitlines()]
    return [path for path in paths if path.is_file()]


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in tracked(package):
        if path.suffix == ".py":
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


def assigned_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and name of each assignment in a function; fields have a class name."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.lineno, node.id


def public_definitions(tree: ast.AST) -> Iterator[Definition]:
    """Yield public classes, functions and methods; not functions inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | Definition):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def is_setter(node: Definition) -> bool:
    return any(
        isinstance(decorator, ast.Attribute) and decorator.attr == "setter"
        for decorator in node.decorator_list
    )


def is_overload(node: Definition) -> bool:
    return any(
        isinstance(decorator, ast.Name) and decorator.id == "overload"
        for decorator in node.decorator_list
    )


def test_no_class_name_has_two_meanings() -> None:
    places = defaultdict(set)
    for package in PACKAGES[:2]:
        for path, tree in modules(package):
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].add(path)

    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_assigned_names_say_what_they_hold(package: str) -> None:
    vague = [
        f"{path}:{line} {name}"
        for path, tree in modules(package)
        for line, name in assigned_names(tree)
        if VAGUE.fullmatch(name)
    ]

    assert vague == []


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_do_not_start_with_a_question_word(package: str) -> None:
    wrong = [
        f"{path}:{line} {text.splitlines()[0]}"
        for path, tree in modules(package)
        for line, text in docstrings(tree)
        if text.split()[0].strip(",.:;") in QUESTION_WORDS
    ]

    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring(package: str) -> None:
    undocumented = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in modules(package)
        for node in public_definitions(tree)
        if ast.get_docstring(node) is None
        and not is_setter(node)
        and not is_overload(node)
    ]

    assert undocumented == []


def test_every_section_of_a_specification_that_code_cites_exists() -> None:
    citation = re.compile(r"(docs/spec/[a-z-]+\.md) ([0-9]+(?:\.[0-9]+)?)")
    missing = []
    for path in tracked("*.py"):
        text = " ".join(path.read_text("utf-8").split())
        for document, section in citation.findall(text):
            specification = ROOT / document
            heading = re.compile(rf"^#+ {re.escape(section)}\.? ", re.MULTILINE)
            if specification.is_file() and not heading.search(
                specification.read_text("utf-8")
            ):
                missing.append(f"{path.relative_to(ROOT)}: {document} {section}")

    assert missing == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a Markdown page, as GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_every_link_between_pages_leads_to_a_page_and_a_heading() -> None:
    broken = []
    for page in tracked("*.md"):
        for target, anchor in LINK.findall(page.read_text("utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            linked = (page.parent / target).resolve()
            is_missing = not linked.exists()
            if anchor and not is_missing and linked.suffix == ".md":
                is_missing = anchor not in anchors(linked)
            if is_missing:
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")

    assert broken == []
