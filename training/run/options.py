"""Command-line options and presets, made of frozen dataclasses by tyro.

A field of a dataclass becomes one option: its type says what is allowed, its line under `Attributes:` is the help. A
preset is a YAML file of the same names, so whatever a preset says can be said on the command line and the other way
round. What counts, from weakest to strongest: the dataclass, the script, the preset, the command line. A value that is
not allowed is refused by the dataclass itself, in `__post_init__`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro
import yaml

from model_defs.networks.registry import NETWORKS
from model_defs.spec import InputSpec

PRESETS_DIR = Path(__file__).resolve().parents[2] / "config" / "training"
_FLAT = (tyro.conf.OmitArgPrefixes,)
_AS_WRITTEN = (*_FLAT, tyro.conf.FlagConversionOff)  # a preset says `export: false`, a command line --no-export


@dataclass(frozen=True)
class Section:
    """A dataclass whose fields are options.

    Attributes:
        title: heading in the help.
        kind: the dataclass; its docstring documents every field under `Attributes:`.
        names: option names of fields, where they differ.
        unset: options that may stay unset, and are so by default: the field then keeps its own value. `None` stands
            for all of them.
    """

    title: str
    kind: type
    names: Mapping[str, str] = field(default_factory=dict)
    unset: frozenset[str] | None = frozenset()

    def option_names(self) -> dict[str, str]:
        """Option name of each field."""
        return {f.name: self.names.get(f.name, f.name) for f in fields(self.kind)}

    def may_be_unset(self, option: str) -> bool:
        """Whether an option is one that may stay unset."""
        return self.unset is None or option in self.unset


@dataclass(frozen=True)
class _Source:
    """Where the settings come from.

    Attributes:
        config: a preset: a YAML file, or the name of one in config/training.
        show_config: print the settings as a preset, and stop.
    """

    config: str | None = None
    show_config: bool = False


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
        named = {name: (option, self.values[option]) for name, option in section.option_names().items()}
        return {
            name: value
            for name, (option, value) in named.items()
            if not (value is None and section.may_be_unset(option))
        }

    def to_yaml(self) -> str:
        """A preset that gives these settings again."""
        record = {"script": self.script} | {name: _plain(value) for name, value in self.values.items()}
        return yaml.safe_dump(record, sort_keys=False, allow_unicode=True)


class OptionsParser:
    """The options of a script, in sections; they may be spelled with dashes or underscores: --save-path, --save_path.

    Args:
        script: in `training`.
        sections: an option that several of them name is one, which all of them get.
        defaults: of this script, where they differ from the dataclasses'.
        choices: values allowed for an option, where its type does not say them.
        required: options without which the script cannot run.
        description: of the script.
        epilog: examples; `%(prog)s` stands for the command.
    """

    def __init__(
        self,
        script: str,
        sections: Sequence[Section],
        defaults: Mapping[str, Any],
        choices: Mapping[str, Sequence[str]],
        required: Sequence[str] = (),
        description: str = "",
        epilog: str = "",
    ) -> None:
        self.script = script
        self.sections = sections
        self.required = required
        self.prog = f"python -m training.{script}"
        presets = f"presets in config/training: {', '.join(preset_names(script)) or 'none yet'}"
        self.description = "\n\n".join([description, presets, epilog.replace("%(prog)s", self.prog)]).strip()
        self.options: dict[str, tuple[str, str]] = {}  # name -> its section and field among what tyro parses
        parts = {}
        for section in (Section("settings", _Source), *sections):
            title = section.title.replace(" ", "_")
            parts[title] = _section_type(section, defaults, choices, self.options)
            for name, option in section.option_names().items():
                self.options.setdefault(option, (title, name))
        self._type = make_dataclass(script, [(title, part, part()) for title, part in parts.items()], frozen=True)
        if unknown := defaults.keys() - self.options.keys():
            raise TypeError(f"{script} has no option {sorted(unknown)}")

    def settings(self, argv: Sequence[str] | None = None) -> Settings:
        """What the command line and its preset ask for; a wrong value ends the process with a message."""
        argv = sys.argv[1:] if argv is None else argv
        try:
            given = self._parse(argv, self._type())
            if given.settings.config:
                given = self._parse(argv, self.read_preset(given.settings.config))
            values = {name: getattr(getattr(given, part), item) for name, (part, item) in self.options.items()}
            show = values.pop("show_config")
            del values["config"]
            settings = Settings(self.script, self.sections, values)
            for section in self.sections:
                if section.unset is not None:
                    settings.make(section.kind)
        except ValueError as error:
            self._fail(str(error))
        if show:
            print(settings.to_yaml(), end="")
            raise SystemExit
        if missing := [name for name in self.required if settings[name] is None]:
            self._fail(f"--{missing[0]} is required, here or in the preset")
        return settings

    def read_preset(self, name: str) -> Any:
        """The options with the values that a preset sets; what tyro finds wrong in it ends the process.

        Raises:
            ValueError: there is no such preset, or it is of another script.
        """
        path, record = load_preset(name)
        if (script := record.pop("script", self.script)) != self.script:
            raise ValueError(f"{path} is a preset of training.{script}, not of training.{self.script}")
        try:
            return self._parse(_arguments(record), self._type(), _AS_WRITTEN)
        except SystemExit:
            print(f"in the preset {path}", file=sys.stderr)
            raise

    def _parse(self, argv: Sequence[str], default: Any, config: tuple = _FLAT) -> Any:
        argv = [re.sub(r"(^|=)none$", r"\1None", argument) for argument in argv]
        texts = {"prog": self.prog, "description": self.description}
        return tyro.cli(self._type, args=argv, default=default, config=config, **texts)

    def _fail(self, message: str) -> None:
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        raise SystemExit(2)


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
        ValueError: there is no such preset, or it names no network; a value that is not allowed ends the process.
    """
    path, record = load_preset(preset)
    if record.get("network") not in NETWORKS:
        raise ValueError(f"{path} names no network; allowed: {', '.join(NETWORKS)}")
    spec = NETWORKS[record["network"]].spec
    changes = {item.name: record[item.name] for item in fields(spec) if record.get(item.name) is not None}
    return tyro.cli(type(spec), prog=str(path), args=_arguments(changes), default=spec, config=_AS_WRITTEN)


def preset_names(script: str | None = None) -> list[str]:
    """Presets in config/training, of one script or all."""
    records = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in PRESETS_DIR.glob("*.yaml")}
    return sorted(name for name, record in records.items() if script in (None, record["script"]))


def _section_type(
    section: Section, defaults: Mapping[str, Any], choices: Mapping[str, Sequence[str]], known: Mapping[str, Any]
) -> type:
    """A dataclass as tyro is to parse it: with the script's names, defaults and choices, and no option twice."""
    hints, names = get_type_hints(section.kind), section.option_names()
    made = []
    for item in fields(section.kind):
        option, hint = names[item.name], hints[item.name]
        default = item.default if item.default is not MISSING else item.default_factory()
        if option in choices:
            one = Literal[tuple(choices[option])]
            hint = tuple[one, ...] if get_origin(hint) is tuple else one
        if section.may_be_unset(option):
            default, hint = None, hint if NoneType in get_args(hint) else hint | None
        kept = "(default: its own)" if section.may_be_unset(option) and option not in defaults else None
        mark = tyro.conf.arg(name=option, help_behavior_hint=kept)
        if option in known:
            hint, mark = tyro.conf.Fixed[hint], tyro.conf.Suppress
        made.append((item.name, Annotated[hint, mark], field(default=defaults.get(option, default))))
    text = {"__doc__": section.kind.__doc__, "__post_init__": lambda self: None}  # checked when all is known
    return make_dataclass(section.kind.__name__, made, bases=(section.kind,), frozen=True, namespace=text)


def _arguments(record: Mapping[str, Any]) -> list[str]:
    """What a preset says, as a command line says it."""
    arguments = []
    for name, value in record.items():
        several = value if isinstance(value, list | tuple) else [value]
        arguments += [f"--{name}", *map(str, several)]
    return arguments


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
