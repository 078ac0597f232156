"""The look of every HTML report: one frame, one style, figures by matplotlib as SVG in it."""
