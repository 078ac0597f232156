"""Making a trained network smaller or quicker: int8, pruning, distillation, each with its figures before and after."""
