"""Mistakes of a user, as one line each: what was given, and what is allowed."""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

USER_ERRORS = (HydraException, OmegaConfBaseException, ValueError, OSError)
"""What a wrong key, value, name or path raises. Anything else is a bug and keeps its traceback."""


# Asked for on import: the application sets the variable itself later on.
_TRACEBACKS_WANTED = os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn a mistake of the user into a `ValueError` of one line."""
    try:
        yield
    except USER_ERRORS as error:
        raise ValueError(one_line(error)) from None


@contextlib.contextmanager
def reported_in_one_line() -> Iterator[None]:
    """Turn a mistake of the user into one line on standard error and exit code 1."""
    try:
        yield
    except USER_ERRORS as error:
        if _TRACEBACKS_WANTED:
            raise
        raise SystemExit(f"error: {one_line(error)}") from None
    except AssertionError as error:
        if _TRACEBACKS_WANTED or not (key := key_below_null(error)):
            raise
        raise SystemExit(f"error: {key}: {key.rpartition('.')[0]} is null here") from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def key_below_null(error: AssertionError) -> str | None:
    """The key that was given below one that is null; all that OmegaConf says is an assertion."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames[-1].f_code.co_qualname != OmegaConf.update.__qualname__:
        return None
    return frames[-1].f_locals["key"]


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
    """What Hydra says of a group that has no value, or that the command does not have."""
    first, *rest = said.splitlines()
    if missing := re.match(r"You must specify '(.+?)'", first):
        options = _offered(line.strip() for line in rest[1:])
        return f"{missing[1]} has no value; choose one of {options}"
    if strange := re.match(r"Could not override '(.+?)'", first):
        return (
            f"{strange[1]}: not a key of this command; `python -m experiments study` takes "
            "experiment=NAME, `python -m experiments run` optimizer, model, data, study and others"
        )
    return said


def _unknown_key(error: ConfigAttributeError | ConfigKeyError) -> str:
    key = str(error.full_key)
    parent = error.parent_node
    hidden = ("_", "hydra")
    known = [str(name) for name in parent or {} if not str(name).startswith(hidden)]
    prefix, dot, last = key.rpartition(".")
    close = get_close_matches(last, known, n=1)
    guess = f" did you mean {prefix}{dot}{close[0]}?" if close else ""
    place = f"in {prefix}" if prefix else "here"
    more = f"; one more is added by +{key}=VALUE" if error.object_type is dict else ""
    return f"{key}: no such key;{guess} the keys {place} are {', '.join(known) or 'none'}{more}"
