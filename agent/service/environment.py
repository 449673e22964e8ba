"""The environment of the processes that `serve` starts: its own settings, whatever they came from."""

import os

from pydantic import AliasChoices, SecretStr

from agent.config import Settings

PIPED = frozenset({"e2ee_key"})
"""What a room's process is told through its pipe, and no other process needs."""


def child_environment(settings: Settings) -> dict[str, str]:
    """This process's environment with each of `settings` as its variable, so that a child loads the same.

    Those of `PIPED` are empty there, whatever a `.env` file says.
    """
    environment = dict(os.environ)
    prefix = str(settings.model_config.get("env_prefix", ""))
    for name, info in type(settings).model_fields.items():
        alias = info.validation_alias
        variable = str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{prefix}{name}".upper()
        value = getattr(settings, name)
        if value is None:
            environment.pop(variable, None)
            continue
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        environment[variable] = "" if name in PIPED else text
    return environment
