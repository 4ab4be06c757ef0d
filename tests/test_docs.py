"""The documentation says what the program does: links, command lines, keys, options, exit codes."""

from __future__ import annotations

import importlib
import re
import shlex
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from provisioner import errors, yamlfile
from provisioner.cli.main import cli
from provisioner.components.recipe import Recipe
from provisioner.console.stages import Stages
from provisioner.errors import ProvisionerError
from provisioner.model.spec import ImageSpec, Resources
from provisioner.netboot.config import Config
from provisioner.oci import settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MODELS: dict[str, type[BaseModel]] = {
    "yaml.md": ImageSpec, "components.md": Recipe, "netboot.md": Config, "console.md": Stages,
    "store.md": settings._File}
# Options of other programs, or of scripts, that the pages name.
FOREIGN = {"--quick", "--soak", "--no-sbom", "--no-install-recommends"}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
by_model = pytest.mark.parametrize("name", MODELS)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def fences(path: Path) -> Iterator[tuple[str, str]]:
    """Yield language and content of each fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text(path), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def prose(path: Path) -> str:
    return re.sub(r"^```\w*\n.*?^```$", "", text(path), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@by_page
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = page if not file else page.parent / file
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_readme_links_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([^)#]+)\)", text(ROOT / "README.md")))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")}


# --- command lines --------------------------------------------------------------------------------------------------

def command_lines() -> list[str]:
    found = []
    for page in PAGES:
        for _language, block in fences(page):
            for line in block.splitlines():
                words = re.split(r"\s+#|\s[|>&]|;", line.strip())[0]
                if words.startswith("provisioner ") and not re.search(r"<\w+>", words):
                    found.append(words)
    return sorted(set(found))


def leaf(group: click.Command, args: list[str], context: click.Context) -> tuple[click.Command, list[str]]:
    """Follow the groups' names in ``args``; raise click's or our usage errors for what is not there."""
    while isinstance(group, click.Group):
        _options, rest, _order = group.make_parser(context).parse_args(list(args))
        name, found, args = group.resolve_command(context, rest)
        assert found is not None, name
        group, context = found, click.Context(found, parent=context, info_name=name)
    return group, args


@pytest.mark.parametrize("line", command_lines())
def test_command_lines_have_verbs_and_options_that_there_are(line: str) -> None:
    program, *args = shlex.split(line)
    assert program == "provisioner"
    command, rest = leaf(cli, args, click.Context(cli, info_name=program))
    command.make_context(command.name, rest)


def commands(group: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        for verb in group.list_commands(click.Context(group)):
            found = group.get_command(click.Context(group), verb)
            assert found is not None
            yield from commands(found, f"{name} {verb}".strip())
    yield name, group


@cache
def options() -> dict[str, list[str]]:
    """Return every long option, with the commands that have it."""
    found: dict[str, list[str]] = {}
    for name, command in commands():
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                if option.startswith("--"):
                    found.setdefault(option, []).append(name or "provisioner")
    return found


@by_page
def test_options_in_prose_are_options_of_some_verb(page: Path) -> None:
    spans = " ".join(re.findall(r"`([^`\n]+)`", prose(page)))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", spans))
    assert named <= set(options()) | FOREIGN | {"--help"}


def test_every_option_is_named_on_some_page() -> None:
    pages = " ".join(map(text, PAGES))
    missing = {option: verbs for option, verbs in options().items()
               if not re.search(rf"(?<![\w-]){option}(?![\w-])", pages)}
    assert not missing


def test_every_verb_is_shown_on_some_page() -> None:
    lines = command_lines()
    unseen = [name for name, command in commands() if not isinstance(command, click.Group)
              and not any(re.search(rf"\b{name}\b", line) for line in lines)]
    assert not unseen


# --- keys -----------------------------------------------------------------------------------------------------------

def tables(path: Path) -> dict[str, list[list[str]]]:
    """Return the rows (cells) of each table that follows ``<!-- keys: MODEL -->``, by model, without its head."""
    found = {}
    for match in re.finditer(r"^<!-- keys: (\w+) -->\n((?:\|.*\n)+)", text(path), re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in match[2].splitlines()[2:]]
        assert match[1] not in found, f"two tables for {match[1]}"
        found[match[1]] = rows
    return found


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def within(annotation: object) -> set[type[BaseModel]]:
    """Return the models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return set().union(*map(within, typing.get_args(annotation)))


def below(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Return a model and all that its fields lead to."""
    found: set[type[BaseModel]] = set()
    waiting = {model}
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting |= {other for field in one.model_fields.values() for other in within(field.annotation)} - found
    return found


@by_model
def test_tables_have_exactly_the_keys_of_the_models(name: str) -> None:
    module = importlib.import_module(MODELS[name].__module__)
    for title, rows in tables(ROOT / "docs" / name).items():
        listed = [word for row in rows for word in words(row[0])]
        assert len(listed) == len(set(listed)), title
        assert set(listed) == keys(getattr(module, title)), title


@by_model
def test_every_model_has_its_table(name: str) -> None:
    documented = set(tables(ROOT / "docs" / name))
    for model in below(MODELS[name]) - (below(Resources) - {Resources}):
        assert documented & {base.__name__ for base in model.__mro__}, model.__name__


def test_resources_are_told_in_their_cells() -> None:
    cells = {words(row[0])[0]: set(words(row[1])) for row in tables(ROOT / "docs" / "yaml.md")["Resources"]}
    for name, field in Resources.model_fields.items():
        models = set().union(*map(below, within(field.annotation)))
        assert cells[field.alias or name] == set().union(*map(keys, models)), name


# --- examples -------------------------------------------------------------------------------------------------------

def yaml_blocks() -> list[tuple[str, str]]:
    return [(name, block) for name in MODELS for language, block in fences(ROOT / "docs" / name)
            if language == "yaml"]


@pytest.mark.parametrize(("name", "block"), yaml_blocks())
def test_yaml_on_the_pages_is_read(name: str, block: str) -> None:
    if name == "console.md":
        block = "order: [service]\nsettled: []\npatterns:\n" + block
    yamlfile.load(block, MODELS[name], file=name)


def test_the_table_of_components_has_all_that_ship() -> None:
    shipped = {path.parent.name for path in (ROOT / "components").glob("*/component.yml")}
    section = text(ROOT / "docs" / "components.md").partition("## What ships")[2]
    assert set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == shipped


def test_the_table_of_stages_has_all_that_ship() -> None:
    stages = yamlfile.load_file(ROOT / "console" / "stages.yml", Stages)
    section = text(ROOT / "docs" / "console.md").partition("## Stages")[2].partition("##")[0]
    told = {word for line in section.splitlines() if line.startswith("| `") for word in words(line.split("|")[1])}
    assert told == {*stages.order, *(pattern.stage for pattern in stages.patterns), "reboot", "loop"}


# --- exit codes -----------------------------------------------------------------------------------------------------

def test_the_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text(ROOT / "README.md"), re.MULTILINE)
    told = [int(code) for code, _ in rows]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ProvisionerError)]
    assert told == sorted({0, 130, *(kind.exit_code for kind in kinds)})
    assert all(meaning.strip() for _, meaning in rows)
