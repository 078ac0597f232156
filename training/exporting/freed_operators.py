"""A repair of torch: it keeps the `id()` of operators that are gone, and takes what comes to lie there for a function.

`torch.jit._builtins` names builtin functions by `id()`. Where an operator is registered anew, `torch._ops` replaces the
packet's function (`_refresh_packet`) and leaves the old function's id in that table. A list that a layer holds may be
allocated at such an address; scripting then fails, now and then, with "builtin cannot be used as a value".

Affected is every release that has `_refresh_packet`, torch 2.8.0 among them, for which this was written and tried. A
release without it, or without the table, is left alone.
"""

from __future__ import annotations

import gc

import torch._ops
from torch.jit import _builtins

IS_AFFECTED = hasattr(torch._ops, "_refresh_packet") and hasattr(_builtins, "_get_builtin_table")


def forget_freed_operators() -> None:
    """Drop what torch's table of builtin functions says of functions that are gone; nothing where it is unaffected."""
    if not IS_AFFECTED:
        return
    table = _builtins._get_builtin_table()
    permanent = {id(function) for function, _ in _builtins._builtin_ops}
    packets = [thing for thing in gc.get_objects() if type(thing) is torch._ops.OpOverloadPacket]
    current = {packet._qualified_op_name: id(packet._op) for packet in packets}
    for address, name in list(table.items()):
        if address not in permanent and current.get(name, address) != address:
            del table[address]
