"""What ends a screening before it starts."""


class ScreeningError(ValueError):
    """A source, a place or a setting cannot be used; the message names it and what is allowed."""
