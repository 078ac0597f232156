"""The report of `training.evaluate`: figures, robustness, plots; `reporting.numbers` copies them to README."""
