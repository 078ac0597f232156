"""The report of `training.evaluate`: metrics, robustness, plots; `reporting.numbers` copies them to README and docs."""
