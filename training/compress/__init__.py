"""Making a trained network smaller or faster: int8, pruning, distillation, each with its metrics before and after."""
