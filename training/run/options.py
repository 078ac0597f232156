"""Command-line options and presets, generated from frozen dataclasses.

A field of a dataclass becomes one option: its type says what is allowed, its line under `Attributes:` in the
docstring is the help. A preset is a YAML file of the same names, so whatever a preset says can be said on the command
line and the other way round. What counts, from weakest to strongest: the dataclass, the script, the preset, the command
line. A value that is not allowed is refused by the dataclass itself, in `__post_init__`.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from model_defs.networks.registry import NETWORKS
from model_defs.spec import InputSpec

PRESETS_DIR = Path(__file__).resolve().parents[2] / "config" / "training"
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Section:
    """A dataclass whose fields are options.

    Attributes:
        title: heading in the help.
        kind: the dataclass; its docstring documents every field under `Attributes:`, or its source in comments.
        names: option names of fields, where they differ.
        unset: options that may stay unset, and are so by default: the field then keeps its own value. `None` stands
            for all of them.
        hidden: fields that are not options.
    """

    title: str
    kind: type
    names: Mapping[str, str] = field(default_factory=dict)
    unset: frozenset[str] | None = frozenset()
    hidden: frozenset[str] = frozenset()

    def option_names(self) -> dict[str, str]:
        """Option name of each field."""
        return {f.name: self.names.get(f.name, f.name) for f in fields(self.kind) if f.name not in self.hidden}


@dataclass(frozen=True)
class Option:
    """One setting.

    Attributes:
        name: in a preset; on the command line with dashes or underscores.
        kind: of the value, or of each of several.
        help: what it does.
        default: its value where nobody sets it.
        choices: the values allowed, where they are few.
        many: `+` for one or more values, a number for so many, None for a single one.
        nullable: it may be `none`.
    """

    name: str
    kind: type
    help: str
    default: Any
    choices: tuple[str, ...] = ()
    many: str | int | None = None
    nullable: bool = False

    def convert(self, value: Any, where: str) -> Any:
        """A value from a preset or the command line in its type.

        Raises:
            ValueError: it is not allowed; the message names the option.
        """
        if value is None or (self.nullable and value == "none"):
            if self.nullable:
                return None
        elif self.many is None:
            return self._convert_one(value, where)
        elif isinstance(value, list | tuple) and (self.many == "+" or len(value) == self.many):
            return tuple(self._convert_one(one, where) for one in value)
        raise self._refusal(value, where)

    def _convert_one(self, value: Any, where: str) -> Any:
        if self.choices and value not in self.choices:
            raise self._refusal(value, where)
        if isinstance(value, bool) != (self.kind is bool) or isinstance(value, list | tuple | dict):
            raise self._refusal(value, where)
        try:
            converted = self.kind(value)  # YAML reads 2e-4 as text: this makes a number of it
        except (TypeError, ValueError):
            raise self._refusal(value, where) from None
        if self.kind is int and converted != float(value):
            raise self._refusal(value, where)
        return converted

    def _refusal(self, value: Any, where: str) -> ValueError:
        allowed = f"one of {', '.join(self.choices)}" if self.choices else _WORDS[self.kind]
        allowed += {None: "", "+": ", or several in a list"}.get(self.many, f", {self.many} in a list")
        return ValueError(f"{where}: {self.name} is {value!r}; allowed: {allowed}{' or none' if self.nullable else ''}")


class Settings:
    """Values of all options of a script."""

    def __init__(self, script: str, sections: Sequence[Section], values: Mapping[str, Any]) -> None:
        self.script = script
        self.sections = sections
        self.values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def make(self, kind: type, **more: Any) -> Any:
        """An instance of a section's dataclass; `more` are fields that follow from something else."""
        return kind(**(self.changes(kind) | more))

    def changes(self, kind: type) -> dict[str, Any]:
        """The fields of a section that are set."""
        section = next(section for section in self.sections if section.kind is kind)
        named = {name: self.values[option] for name, option in section.option_names().items()}
        optional = section.option_names().values() if section.unset is None else section.unset
        unset = {name for name, option in section.option_names().items() if option in optional}
        return {name: value for name, value in named.items() if not (name in unset and value is None)}

    def to_yaml(self) -> str:
        """A preset that gives these settings again."""
        record = {"script": self.script} | {name: _plain(value) for name, value in self.values.items()}
        return yaml.safe_dump(record, sort_keys=False, allow_unicode=True)


class OptionsParser(argparse.ArgumentParser):
    """A parser made of sections; options may be spelled with dashes or underscores: --save-path, --save_path."""

    def __init__(
        self,
        script: str,
        sections: Sequence[Section],
        defaults: Mapping[str, Any],
        choices: Mapping[str, Sequence[str]],
        required: Sequence[str] = (),
        **texts: str,
    ) -> None:
        super().__init__(
            prog=f"python -m training.{script}",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            usage="%(prog)s [--config PRESET] [--dataset PATH] [options]",
            **texts,
        )
        self.script = script
        self.sections = sections
        self.required = required
        self.options: dict[str, Option] = {}
        presets = ", ".join(preset_names(script)) or "none yet"
        self.add_argument("--config", metavar="PRESET", help=f"a YAML file, or one of config/training: {presets}")
        self.add_argument("--show-config", action="store_true", help="print the settings as a preset, and stop")
        for section in sections:
            group = self.add_argument_group(section.title)
            for option in _options(section, defaults, choices):
                if option.name not in self.options:
                    self.options[option.name] = option
                    _add(group, option)
        if unknown := defaults.keys() - self.options.keys():
            raise TypeError(f"{script} has no option {sorted(unknown)}")

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else args
        return super().parse_known_args([_dashed(argument) for argument in args], namespace)

    def settings(self, argv: Sequence[str] | None = None) -> Settings:
        """What the command line and its preset ask for; a wrong value ends the process with a message."""
        given = vars(self.parse_args(argv))
        preset, show = given.pop("config"), given.pop("show_config")
        try:
            values = {name: option.default for name, option in self.options.items()}
            values |= self.read_preset(preset) if preset else {}
            values |= {name: self.options[name].convert(value, "command line") for name, value in given.items()}
            settings = Settings(self.script, self.sections, values)
            for section in self.sections:
                if section.unset is not None:
                    settings.make(section.kind)
        except ValueError as error:
            self.error(str(error))
        if show:
            print(settings.to_yaml(), end="")
            raise SystemExit
        if missing := [name for name in self.required if settings[name] is None]:
            self.error(f"--{missing[0]} is required, here or in the preset")
        return settings

    def read_preset(self, name: str) -> dict[str, Any]:
        """The values that a preset sets.

        Raises:
            ValueError: it is of another script, or has an unknown key or a wrong value.
        """
        path, record = load_preset(name)
        if (script := record.pop("script", self.script)) != self.script:
            raise ValueError(f"{path} is a preset of training.{script}, not of training.{self.script}")
        if unknown := sorted(record.keys() - self.options.keys()):
            raise ValueError(f"{path}: unknown {', '.join(unknown)}; allowed: {', '.join(sorted(self.options))}")
        return {key: self.options[key].convert(value, str(path)) for key, value in record.items()}


def load_preset(name: str) -> tuple[Path, dict[str, Any]]:
    """(path, raw content) of a YAML file, named by its path or as a preset of config/training.

    Raises:
        ValueError: there is no such file, or it is no mapping.
    """
    path = PRESETS_DIR / f"{name}.yaml" if (PRESETS_DIR / f"{name}.yaml").is_file() else Path(name)
    if not path.is_file():
        raise ValueError(f"there is no preset {name!r}; allowed: a file, or one of {', '.join(preset_names())}")
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds no mapping of option to value")
    return path, {str(key).replace("-", "_"): value for key, value in record.items()}


def preset_spec(preset: str) -> InputSpec:
    """The input of the network that a preset trains.

    Raises:
        ValueError: there is no such preset, it names no network, or a value is not allowed.
    """
    path, record = load_preset(preset)
    if record.get("network") not in NETWORKS:
        raise ValueError(f"{path} names no network; allowed: {', '.join(NETWORKS)}")
    spec = NETWORKS[record["network"]].spec
    options = {option.name: option for option in _options(Section("", type(spec), unset=None), {}, {})}
    named = {name: option.convert(record.get(name), str(path)) for name, option in options.items()}
    return replace(spec, **{name: value for name, value in named.items() if value is not None})


def preset_names(script: str | None = None) -> list[str]:
    """Presets in config/training, of one script or all."""
    records = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in PRESETS_DIR.glob("*.yaml")}
    return sorted(name for name, record in records.items() if script in (None, record["script"]))


def _options(section: Section, defaults: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> list[Option]:
    hints, documented = get_type_hints(section.kind), field_docs(section.kind)
    names = section.option_names()
    options = []
    for item in fields(section.kind):
        if item.name not in names:
            continue
        name = names[item.name]
        kind, allowed, many, nullable = _analyse(hints[item.name])
        default = item.default if item.default is not MISSING else item.default_factory()
        text = documented.get(item.name, f"as in {section.kind.__name__}")
        if section.unset is None or name in section.unset:
            default, nullable = None, True
        default = defaults.get(name, default)
        options.append(Option(name, kind, text, default, tuple(choices.get(name, allowed)), many, nullable))
    return options


def _analyse(hint: Any) -> tuple[type, tuple[str, ...], str | int | None, bool]:
    """(type of one value, choices, how many, whether it may be none) of an annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return str, arguments, None, False
    if origin in (Union, UnionType):
        (inner,) = [argument for argument in arguments if argument is not NoneType]
        kind, choices, many, _ = _analyse(inner)
        return kind, choices, many, True
    if origin is tuple:
        many = "+" if arguments[-1] is Ellipsis else len(arguments)
        return arguments[0], (), many, False
    if hint not in _WORDS:
        raise TypeError(f"an option cannot be of type {hint}")
    return hint, (), None, False


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    flag = "--" + option.name.replace("_", "-")
    text = option.help.replace("%", "%%")
    if option.default not in (None, (), ""):
        text += f" (default: {_shown(option.default)})".replace("%", "%%")
    if option.kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        return
    metavar = "{" + ",".join(option.choices) + "}" if option.choices else _METAVARS[option.kind]
    nargs = {} if option.many is None else {"nargs": option.many}
    group.add_argument(flag, dest=option.name, metavar=metavar, default=argparse.SUPPRESS, help=text, **nargs)


_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _dashed(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if argument.startswith("--") else argument


def field_docs(kind: type) -> dict[str, str]:
    """What a dataclass says of each field: its line under `Attributes:`, or the comment behind it in the source."""
    docs = {}
    described = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    name = ""
    for line in described.splitlines():
        if not line.strip():
            break
        if match := re.match(r"    (\w+): (.*)", line):
            name, docs[match[1]] = match[1], match[2]
        elif name:
            docs[name] += " " + line.strip()
    for match in re.finditer(r"^    (\w+): [^#\n]*#\s*(.*)$", inspect.getsource(kind), re.MULTILINE):
        docs.setdefault(match[1], match[2])
    return docs
