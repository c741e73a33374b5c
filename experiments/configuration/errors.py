"""Mistakes of a user, as one line each: what was given, and what is allowed."""

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from difflib import get_close_matches

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from experiments.configuration.config import COMMANDS

USER_ERRORS = (HydraException, OmegaConfBaseException, ValueError, OSError)
"""Raised by a wrong key, value, name or path. Anything else is a bug and keeps its traceback."""
HIDDEN = ("_", "hydra")  # keys that are not offered
# Words in the message of an error that is no `USER_ERRORS`, and what to do about it.
REMEDIES = {
    "RESOURCE_EXHAUSTED": "it takes more memory than there is; take a smaller model, fewer twins "
    "or lanes at a time, or chunks of the data",
    'detect "srun"': "there is no Slurm on this machine; choose hydra/launcher=submitit_local or "
    "joblib, or give the command on a Slurm cluster",
}
REMEDIES |= dict.fromkeys(("Out of memory", "Unable to allocate"), REMEDIES["RESOURCE_EXHAUSTED"])


# Asked for on import: the application sets the variable itself later on.
_TRACEBACKS_WANTED = os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn a mistake of the user into a `ValueError` of one line."""
    try:
        yield
    except BrokenPipeError:  # no mistake: whoever read the output has enough
        raise
    except USER_ERRORS as error:
        raise ValueError(one_line(error)) from None


@contextlib.contextmanager
def reported_in_one_line() -> Iterator[None]:
    """Turn a mistake of the user into one line on standard error and exit code 1."""
    try:
        yield
    except BrokenPipeError:  # no mistake: whoever read the output has enough
        raise
    except USER_ERRORS as error:
        if _TRACEBACKS_WANTED:
            raise
        raise SystemExit(f"error: {one_line(error)}") from None
    except (RuntimeError, MemoryError) as error:
        remedy = next((text for said, text in REMEDIES.items() if said in str(error)), None)
        if remedy is None or _TRACEBACKS_WANTED:
            raise
        raise SystemExit(f"error: {remedy} ({str(error).splitlines()[0]})") from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def one_line(error: BaseException) -> str:
    """Describe one of `USER_ERRORS` in a single line."""
    match error:
        case MissingConfigException():
            text = _missing_option(error)
        case OverrideParseException():
            own = ("Error parsing override", "See http")
            reason = " ".join(x for x in str(error).splitlines() if not x.startswith(own))
            text = f"{error.override}: cannot be read ({reason}); write KEY=VALUE"
        case ConfigCompositionException(__cause__=OmegaConfBaseException() as cause):
            text = one_line(cause)
        case ConfigCompositionException():
            text = _of_groups(str(error))
        case ConfigAttributeError() | ConfigKeyError():
            text = _unknown_key(error)
        case OmegaConfBaseException(full_key=str(key)) if key:
            text = f"{key}: {str(error).splitlines()[0]}"
        case InstantiationException(__cause__=ValueError() | OSError() as cause):
            text = one_line(cause)
        case InstantiationException(__cause__=Exception() as cause):
            text = _of_target(str(error), cause)
        case ValueError() if str(error).startswith("Config group override"):
            text = "a group takes the name of a file, as in optimizer=adam, not null or a number"
        case OSError(filename=str(name)):
            text = f"cannot use {name}: {error.strerror}"
        case _:
            text = str(error)
    return " ".join(text.split())


def _missing_option(error: MissingConfigException) -> str:
    if not error.options:
        return str(error).splitlines()[0]
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    return f"{group}={name}: no such {group}; choose one of {_offered(error.options)}"


def _offered(options: Iterable[str]) -> str:
    return ", ".join(option for option in options if not option.endswith("_schema"))


def _of_groups(said: str) -> str:
    """Shorten the message of Hydra about a group without a value, or of another command."""
    first, *rest = said.splitlines()
    if missing := re.match(r"You must specify '(.+?)'", first):
        options = _offered(line.strip() for line in rest[1:])
        return f"{missing[1]} has no value; choose one of {options}"
    strange = re.match(r"Could not override '(.+?)'", first)
    if strange := strange or re.search(r"Key '(\w+)' (?:not in|is not in)", said):
        return f"{strange[1]}: no such key here{_taken_by(strange[1])}"
    return said


def _of_target(said: str, cause: BaseException) -> str:
    """Describe a builder that cannot be imported or called, with the reason of Python."""
    name = said.partition("target '")[2].partition("'")[0]
    found = not said.startswith("Error locating")
    reason = cause if found else cause.__cause__ or cause
    return f"_target_={name}: it cannot be {'called' if found else 'imported'} ({reason})"


def _unknown_key(error: ConfigAttributeError | ConfigKeyError) -> str:
    key = str(error.full_key)
    known = [str(name) for name in error.parent_node or {} if not str(name).startswith(HIDDEN)]
    prefix, dot, last = key.rpartition(".")
    close = [f"{prefix}{dot}{name}" for name in get_close_matches(last, known, n=1)]
    close += [f"{prefix}{dot}{name}" for name in _deeper(last, error.parent_node)]
    elsewhere = _taken_by(key, error.object_type)
    guess = f" did you mean {close[0]}?" if close and not elsewhere else ""
    place = f"in {prefix}" if prefix else "here"
    more = f"; one more is added by +{key}=VALUE" if error.object_type is dict and prefix else ""
    return (
        f"{key}: no such key;{guess} the keys {place} are {', '.join(known) or 'none'}"
        f"{more}{elsewhere}"
    )


def _deeper(name: str, node: object) -> Iterator[str]:
    """Yield keys of groups that are called so, or whose initials are: `lr` of `learning_rate`."""
    groups = node.items_ex(resolve=False) if isinstance(node, DictConfig) else ()
    for group, inner in groups:
        for key in inner if isinstance(inner, DictConfig) else ():
            if name in (key, "".join(word[:1] for word in str(key).split("_"))):
                yield f"{group}.{key}"


def _taken_by(key: str, here: type | None = None) -> str:
    """Name the command that takes a key, if it stands at the top of a configuration elsewhere."""
    for command, kinds in COMMANDS.items():
        own = here in kinds or (here is dict and command == "study")  # a question has no schema
        if not own and any(entry.name == key for kind in kinds for entry in fields(kind)):
            return f"; `python -m experiments {command}` takes {key}"
    return ""
