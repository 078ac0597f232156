"""Live streams: a score each second, a filter over them, and events. `deepdetect watch` is the command.

The protocols that it opens are opened by this command alone: nothing that serves imports this package.
"""
