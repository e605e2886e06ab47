"""One module per DVC stage, each with `run(params, root, ...)` and a `main` of a few lines."""
