"""One file to one answer: options, samples, predictors, fusion, and the engine that batches them."""
