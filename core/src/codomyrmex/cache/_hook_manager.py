"""`HookManager`: pluggy's plugin manager, quick with plugins of many attributes."""

from __future__ import annotations

from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

from . import hookspecs


class HookManager(pluggy.PluginManager):
    """pluggy's manager, but it looks only at what can be a hook.

    Its look at an attribute costs 10 µs, and a plugin's module has dozens of them.
    """

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """See pluggy."""
        return super().parse_hookimpl_opts(plugin, name) if _may_be_hook(plugin, name, "impl") else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> pluggy.HookspecOpts | None:
        """See pluggy."""
        return (
            super().parse_hookspec_opts(module_or_class, name) if _may_be_hook(module_or_class, name, "spec") else None
        )


def _may_be_hook(holder: object, name: str, mark: str) -> bool:
    if name.startswith("__"):
        return False
    if not isinstance(holder, ModuleType):
        return True
    found = vars(holder).get(name)
    if isinstance(found, FunctionType):
        return hasattr(found, f"{hookspecs.PROJECT}_{mark}")
    return isinstance(found, (MethodType, classmethod, staticmethod))
